"""How a batch moves just now: what ended lately, how long its models take, what comes next and what failed last.

Every query is served by an index and reads a bounded number of rows, however large the batch is.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Text, bindparam, func, select, text
from sqlalchemy.dialects.postgresql import ARRAY

from orchestrator.base.clock import rfc3339
from orchestrator.base.states import JobState, SubmissionState
from orchestrator.store.database import NOW
from orchestrator.store.tables import accounts, jobs, paces, submissions

#: So many of the newest transitions, of all batches, are looked through: about 500 jobs from begin to end.
_EVENTS = 4_000
#: So many of the jobs that end there are looked at for how long they took.
_TIMED = 200
#: The rate is that of the last so many seconds.
_RATE_SECONDS = 300.0
#: Where these tell nothing of a model: so many completed jobs of each of the account's newest batches.
_SAMPLE = 300
_SAMPLED_BATCHES = 4
_ERRORS = 3
_FAILED = (JobState.FAILED, JobState.REJECTED)
#: What counts for the rate: jobs that ended because they were sent.
_RAN = (JobState.COMPLETED, *_FAILED)


@dataclass(frozen=True, slots=True)
class Typical:
    """How long jobs of a model take from their POST until they are stored, seen so many of them."""

    jobs: int
    mean_seconds: float
    spread_seconds: float


@dataclass(frozen=True, slots=True)
class Pulse:
    """How a batch moves just now. `ended_per_minute` is None where nothing ended in the last minutes."""

    ended_per_minute: float | None
    typical: dict[str, Typical]
    #: 0: it is overdue. None: nothing is to be asked about.
    next_poll_seconds: float | None
    #: The newest first: id, state, code, message, at.
    last_errors: list[dict[str, Any]]


#: The ends of this batch's jobs among the newest transitions, and since when these are known.
_ENDED = text(
    """
    WITH recent AS MATERIALIZED (
        SELECT * FROM event ORDER BY pk DESC LIMIT :events
    ), since AS (
        SELECT greatest(min(recent.at), (SELECT created_at FROM batch WHERE id = :batch),
                        orchestrator_now() - make_interval(secs => :seconds)) AS at
        FROM recent
    ), ended AS (
        SELECT entity_id AS name, at FROM recent
        WHERE batch_id = :batch AND entity = 'job' AND to_state = ANY(:ended)
    )
    SELECT (SELECT count(*) FROM ended, since WHERE ended.at >= since.at) AS jobs,
           (SELECT extract(epoch FROM orchestrator_now() - at) FROM since) AS seconds,
           (SELECT array_agg(name) FROM (SELECT name FROM ended ORDER BY at DESC LIMIT :timed) AS newest) AS names
    """
).bindparams(bindparam("ended", type_=ARRAY(Text())))

#: A subquery with OFFSET is looked up row by row: without statistics Postgres would read all of a new batch's jobs.
_TYPICAL = """
    SELECT model, count(*) AS jobs, avg(seconds) AS mean, coalesce(stddev_samp(seconds), 0) AS spread
    FROM (
        SELECT done.model, extract(epoch FROM done.ended_at - coalesce(submission.sent_at, submission.accepted_at))
            AS seconds
        FROM ({jobs}) AS done JOIN submission ON submission.id = done.submission_id
    ) AS taken
    WHERE seconds >= 0 GROUP BY model
    """
_TYPICAL_OF_THESE = text(
    _TYPICAL.format(
        jobs="""
        SELECT job.* FROM unnest(:names) AS ended (name) CROSS JOIN LATERAL (
            SELECT * FROM job WHERE batch_id = :batch AND job.name = ended.name OFFSET 0
        ) AS job WHERE job.state = 'completed' AND job.reused_from_pk IS NULL"""
    )
).bindparams(bindparam("names", type_=ARRAY(Text())))
_TYPICAL_BEFORE = text(
    _TYPICAL.format(
        jobs="""
        SELECT job.* FROM (
            SELECT id FROM batch WHERE account_pk = :account ORDER BY id = :batch DESC, created_at DESC LIMIT :batches
        ) AS newest CROSS JOIN LATERAL (
            SELECT * FROM job WHERE batch_id = newest.id AND state = 'completed' LIMIT :sample
        ) AS job WHERE job.model = ANY(:models) AND job.reused_from_pk IS NULL"""
    )
).bindparams(bindparam("models", type_=ARRAY(Text())))


def read_pulse(connection: Connection, batch_id: str, account_pk: int, models: Collection[str]) -> Pulse:
    """The pulse of an existing batch; of `models` it is to tell how long they take, where that was seen."""
    sizes = {"events": _EVENTS, "timed": _TIMED, "seconds": _RATE_SECONDS}
    ended = connection.execute(_ENDED, sizes | {"batch": batch_id, "ended": list(_RAN)}).one()
    return Pulse(
        ended_per_minute=60 * ended.jobs / max(float(ended.seconds), 1.0) if ended.jobs else None,
        typical=_typical(connection, batch_id, account_pk, ended.names or [], models),
        next_poll_seconds=_next_poll(connection, batch_id),
        last_errors=_last_errors(connection, batch_id),
    )


def _typical(
    connection: Connection, batch_id: str, account_pk: int, names: list[str], models: Collection[str]
) -> dict[str, Typical]:
    rows = connection.execute(_TYPICAL_OF_THESE, {"batch": batch_id, "names": names}).all() if names else []
    unseen = set(models) - {row.model for row in rows}
    if unseen:
        parameters = {"batch": batch_id, "account": account_pk, "models": sorted(unseen)}
        sizes = {"batches": _SAMPLED_BATCHES, "sample": _SAMPLE}
        rows = [*rows, *connection.execute(_TYPICAL_BEFORE, parameters | sizes).all()]
    return {row.model: Typical(row.jobs, float(row.mean), float(row.spread)) for row in rows}


def _next_poll(connection: Connection, batch_id: str) -> float | None:
    wait = connection.execute(
        select(submissions.c.due_at - NOW)
        .where(submissions.c.state == SubmissionState.ACCEPTED, submissions.c.batch_id == batch_id)
        .order_by(submissions.c.due_at)
        .limit(1)
    ).scalar_one_or_none()
    return None if wait is None else max(wait.total_seconds(), 0.0)


def _last_errors(connection: Connection, batch_id: str) -> list[dict[str, Any]]:
    rows = connection.execute(
        select(jobs.c.name, jobs.c.state, jobs.c.error, jobs.c.ended_at)
        .where(jobs.c.batch_id == batch_id, jobs.c.state.in_(_FAILED))
        .order_by(jobs.c.ended_at.desc().nulls_last())
        .limit(_ERRORS)
    )
    return [
        {
            "id": row.name,
            "state": row.state,
            "code": row.error["code"],
            "message": row.error.get("message", ""),
            "at": rfc3339(row.ended_at),
        }
        for row in rows
    ]


def provider_document(connection: Connection, account_pk: int) -> dict[str, Any]:
    """Whether an account's provider is taken for down, and which models it wants later (`model` null: all of them)."""
    account = connection.execute(
        select(accounts.c.breaker_opened_at, accounts.c.breaker_probe_at).where(accounts.c.pk == account_pk)
    ).one()
    paused = connection.execute(
        select(func.nullif(paces.c.model, "").label("model"), paces.c.paused_until)
        .where(paces.c.account_pk == account_pk, paces.c.paused_until > NOW)
        .order_by(paces.c.model)
    )
    return {
        "down_since": rfc3339(account.breaker_opened_at),
        "next_probe_at": rfc3339(account.breaker_probe_at),
        "paused": [{"model": row.model, "until": rfc3339(row.paused_until)} for row in paused],
    }
