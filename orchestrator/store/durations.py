"""How long the newest jobs of an account took until they were seen to be done, by what they are."""

from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import Connection, text

#: So many of the newest movements of money are looked through: two or three for each job that is done.
_MOVEMENTS = 1_500
_JOBS = 400


class JobKind(NamedTuple):
    """What takes about as long: a model, and of videos the length that is asked for. Without a length: any."""

    model: str
    duration_seconds: str | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """A job that was done within `seconds` of its request's acceptance: that is when a poll, its `polls`-th, heard it.

    `told_seconds`: so long the provider worked on it, without its own queue; None where it does not tell.
    """

    kind: JobKind
    seconds: float
    polls: int
    told_seconds: float | None


#: Found by their charges: an index has these by account and time. Whom no poll settled tells nothing.
_NEWEST = text(
    """
    WITH moved AS MATERIALIZED (
        SELECT kind, job_pk, submission_id, at FROM ledger WHERE account_pk = :account ORDER BY at DESC LIMIT :movements
    ), charged AS (
        SELECT job_pk, submission_id, max(at) AS at FROM moved WHERE kind = 'charge' GROUP BY job_pk, submission_id
        ORDER BY at DESC LIMIT :jobs
    )
    SELECT job.model, job.item ->> 'duration_seconds' AS duration_seconds, greatest(submission.polls, 1) AS polls,
           extract(epoch FROM charged.at - submission.accepted_at)::float AS seconds,
           (submission.answer -> 'generation_seconds' ->> job.position::text)::float AS told_seconds
    FROM charged JOIN submission ON submission.id = charged.submission_id JOIN job ON job.pk = charged.job_pk
    WHERE job.submission_id = submission.id AND charged.at > submission.accepted_at AND submission.polls > 0
      AND coalesce(submission.settled_by, 'provider') IN ('provider', 'assumed')
    ORDER BY charged.at DESC
    """
)


def newest_durations(connection: Connection, account_pk: int) -> list[Seen]:
    """Of the newest jobs that polls have seen to be done, the newest first; a bounded number."""
    parameters = {"account": account_pk, "movements": _MOVEMENTS, "jobs": _JOBS}
    return [
        Seen(JobKind(row.model, row.duration_seconds), row.seconds, row.polls, row.told_seconds)
        for row in connection.execute(_NEWEST, parameters)
    ]
