"""What a poll changes: each item moves on by itself, and the submission ends when the provider's word is final."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, bindparam, func, insert, null, select, text, update
from sqlalchemy.dialects.postgresql import JSONB

from orchestrator.base.states import Book, JobState, SettledBy, SubmissionState
from orchestrator.store import ledger, repricing
from orchestrator.store.database import NOW
from orchestrator.store.leases import NO_LEASE
from orchestrator.store.sending import in_seconds
from orchestrator.store.tables import assets, jobs, submissions

#: How long sources live where nothing is said (guide: results are kept at most 72 h), and at most, whatever is said.
_LIFE_SECONDS = 72 * 3600.0
_LONGEST_LIFE_SECONDS = 8 * 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Source:
    """A file of a finished item that is to be stored; `role` is original, thumbnail, preview or final_frame."""

    position: int
    role: str
    kind: str
    url: str
    expires_at: datetime | None
    declared_mime: str | None
    tags: list[dict[str, Any]] = field(default_factory=list)
    #: The file itself, in place of a `url`, where it came with the answer.
    content: str | None = None


@dataclass(frozen=True, slots=True)
class ItemOutcome:
    """The final word on one item: `sources` where it is finished, else `error` and the state it ends in."""

    position: int
    state: JobState
    spent: Decimal
    sources: tuple[Source, ...] = ()
    error: dict[str, Any] | None = None
    #: Whether the provider named what it charged; else `spent` is the worst case.
    is_told: bool = True
    #: What the job's labels say besides from now on.
    labels: dict[str, str] = field(default_factory=dict)
    #: How long the provider worked on it, where it tells that.
    generation_seconds: float | None = None


def record_outcomes(
    connection: Connection, submission_id: UUID, outcomes: Sequence[ItemOutcome], *, follow_prices: bool = True
) -> int:
    """Move finished items on: to `copying` with their files, to `failed` or `rejected`. Repeating it changes nothing.

    Guarded by the job's state alone: the word is final, whoever heard it. Where it cost more than was reserved, the
    account's lock is taken, and all that is reserved for its model follows: call it before any row is changed. Without
    `follow_prices` nothing follows: what one text costs says nothing of the next.
    """
    if not outcomes:
        return 0
    if follow_prices:
        told = {outcome.position: outcome.spent for outcome in outcomes if outcome.is_told}
        repricing.follow_charges(connection, submission_id, told)
    connection.execute(
        select(submissions.c.id).where(submissions.c.id == submission_id).with_for_update(key_share=True)
    )
    charges: dict[int, Decimal] = {}
    moved: list[ItemOutcome] = []
    for outcome in outcomes:
        values: dict[str, Any] = {
            "state": outcome.state,
            "spent": func.coalesce(jobs.c.spent, 0) + outcome.spent,  # an earlier attempt may have cost something
            "error": outcome.error,
            "due_at": NOW,
        }
        if outcome.labels:
            values["labels"] = jobs.c.labels.concat(outcome.labels)
        if outcome.state is JobState.COPYING:
            known = [source.expires_at for source in outcome.sources if source.role == "original" and source.expires_at]
            latest = in_seconds(_LONGEST_LIFE_SECONDS)
            values["source_expires_at"] = func.least(min(known), latest) if known else in_seconds(_LIFE_SECONDS)
        else:
            values["ended_at"] = NOW
        pk = connection.execute(
            update(jobs)
            .where(
                jobs.c.submission_id == submission_id,
                jobs.c.position == outcome.position,
                jobs.c.state == JobState.GENERATING,
            )
            .values(values)
            .returning(jobs.c.pk)
        ).scalar_one_or_none()
        if pk is not None:
            charges[pk] = outcome.spent
            moved.append(outcome)
            _insert_sources(connection, pk, outcome.sources)
    ledger.charge(connection, submission_id, charges)
    if not all(outcome.is_told for outcome in outcomes):
        connection.execute(
            update(submissions).where(submissions.c.id == submission_id).values(settled_by=SettledBy.ASSUMED)
        )
    _keep_durations(connection, submission_id, moved)
    return len(charges)


def _keep_durations(connection: Connection, submission_id: UUID, outcomes: Sequence[ItemOutcome]) -> None:
    """With the answer, by the item's position: `generation_seconds`."""
    told = {str(it.position): it.generation_seconds for it in outcomes if it.generation_seconds is not None}
    if told:
        connection.execute(_KEEP_DURATIONS, {"id": submission_id, "told": told})


_KEEP_DURATIONS = text(
    """
    UPDATE submission SET answer = coalesce(answer, '{}') || jsonb_build_object(
        'generation_seconds', coalesce(answer -> 'generation_seconds', '{}') || :told)
    WHERE id = :id
    """
).bindparams(bindparam("told", type_=JSONB()))


def _insert_sources(connection: Connection, job_pk: int, sources: Sequence[Source]) -> None:
    if sources:
        connection.execute(
            insert(assets),
            [
                {
                    "job_pk": job_pk,
                    "position": source.position,
                    "role": source.role,
                    "kind": source.kind,
                    "source_url": source.url,
                    "source_expires_at": source.expires_at,
                    "declared_mime": source.declared_mime,
                    "content": source.content,
                    "tags": source.tags,
                }
                for source in sources
            ],
        )


def record_poll(
    connection: Connection,
    submission_id: UUID,
    token: UUID,
    *,
    provider_status: str | None,
    nothing_there: bool,
    next_poll_seconds: float,
) -> bool:
    """The provider answered; ask again later. `nothing_there`: finished, it says, but there is nothing to fetch yet."""
    return _put_back(
        connection,
        submission_id,
        token,
        {
            "provider_status": provider_status,
            "polls": submissions.c.polls + 1,
            "poll_failures": 0,
            "not_found_since": func.coalesce(submissions.c.not_found_since, NOW) if nothing_there else null(),
            "due_at": in_seconds(next_poll_seconds),
        },
    )


def record_poll_failure(
    connection: Connection, submission_id: UUID, token: UUID, *, not_found: bool, reason: str, next_poll_seconds: float
) -> bool:
    """The poll did not work; ask again later. An unbroken run of 404 is timed by its first."""
    since = func.coalesce(submissions.c.not_found_since, NOW) if not_found else null()
    return _put_back(
        connection,
        submission_id,
        token,
        {
            "polls": submissions.c.polls + 1,
            "poll_failures": submissions.c.poll_failures + 1,
            "not_found_since": since,
            "answer": {"poll": reason},
            "due_at": in_seconds(next_poll_seconds),
        },
    )


def _put_back(connection: Connection, submission_id: UUID, token: UUID, values: dict[str, Any]) -> bool:
    return bool(
        connection.execute(
            update(submissions)
            .where(
                submissions.c.id == submission_id,
                submissions.c.lease_token == token,
                submissions.c.state == SubmissionState.ACCEPTED,
            )
            .values(NO_LEASE | values)
        ).rowcount
    )


def resolve_finished(connection: Connection, submission_id: UUID, provider_status: str | None) -> bool:
    """End a submission none of whose jobs is generating any more; its charge is what its jobs spent."""
    open_jobs = select(jobs.c.pk).where(jobs.c.submission_id == submission_id, jobs.c.state == JobState.GENERATING)
    return bool(
        connection.execute(
            update(submissions)
            .where(
                submissions.c.id == submission_id,
                submissions.c.state == SubmissionState.ACCEPTED,
                ~open_jobs.exists(),
            )
            .values(
                NO_LEASE
                | {
                    "state": SubmissionState.RESOLVED,
                    "provider_status": provider_status,
                    "settled_by": func.coalesce(submissions.c.settled_by, SettledBy.PROVIDER),
                    "charged": ledger.in_book(connection, submission_id, Book.SPENT),
                    "polls": submissions.c.polls + 1,
                    "due_at": null(),
                    "ended_at": NOW,
                }
            )
        ).rowcount
    )


def open_items(connection: Connection, submission_id: UUID) -> list[tuple[int, Decimal]]:
    """(position, price in credits) of the submission's jobs that are still generating."""
    rows = connection.execute(
        select(jobs.c.position, func.coalesce(jobs.c.price, jobs.c.estimate).label("price"))
        .where(jobs.c.submission_id == submission_id, jobs.c.state == JobState.GENERATING)
        .order_by(jobs.c.position)
    ).all()
    return [(row.position, row.price) for row in rows]
