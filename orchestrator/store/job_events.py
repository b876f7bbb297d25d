"""Jobs as they are now, for those who show them elsewhere."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Text, and_, bindparam, cast, func, or_, select
from sqlalchemy.dialects.postgresql import ARRAY

from orchestrator.base.states import ENDED_BATCHES, BatchState, JobState
from orchestrator.store.tables import assets, batches, jobs, submissions

#: Jobs on which nothing waits any more are not among the open ones.
_OPEN = (JobState.SUBMITTING, JobState.GENERATING, JobState.COPYING, JobState.IN_DOUBT)
_UNSENT = (JobState.WAITING, JobState.PENDING)


@dataclass(frozen=True, slots=True)
class ShownJob:
    """A job as it is now, with the submission that it is in; `uris` are those of its stored originals."""

    pk: int
    name: str
    type: str
    model: str
    state: JobState
    batch_id: str
    collection: str
    is_sandbox: bool
    attempts: int
    request_id: str | None
    error: dict[str, Any] | None
    #: When its batch was submitted.
    created_at: datetime
    claimed_at: datetime | None
    sent_at: datetime | None
    accepted_at: datetime | None
    #: When the provider was found to be done with the submission, and when the job had ended.
    generated_at: datetime | None
    ended_at: datetime | None
    #: How long the provider worked on it, in its own words.
    generation_seconds: float | None
    uris: tuple[str, ...]


def named_jobs(connection: Connection, names: Sequence[tuple[str, str]]) -> list[ShownJob]:
    """The jobs of these batches and names."""
    if not names:
        return []
    of_batches, of_names = ([pair[place] for pair in names] for place in (0, 1))
    columns = (bindparam("of_batches", of_batches, ARRAY(Text())), bindparam("of_names", of_names, ARRAY(Text())))
    named = func.unnest(*columns).table_valued("batch_id", "name").render_derived(name="named")
    pks = select(jobs.c.pk).join(named, and_(jobs.c.batch_id == named.c.batch_id, jobs.c.name == named.c.name))
    return _shown(connection, jobs.c.pk.in_(pks), limit=len(names))


def unsent_jobs(connection: Connection, batch_id: str, *, limit: int) -> list[ShownJob]:
    """The first jobs of a batch that have not been claimed."""
    return _shown(connection, and_(jobs.c.batch_id == batch_id, jobs.c.state.in_(_UNSENT)), limit=limit)


def open_jobs(connection: Connection, *, limit: int) -> list[ShownJob]:
    """Jobs of open batches that can still move: first those that were sent."""
    open_batches = select(batches.c.id).where(batches.c.state.not_in(ENDED_BATCHES))
    of_them = jobs.c.batch_id.in_(open_batches)
    sent = _shown(connection, and_(of_them, jobs.c.state.in_(_OPEN)), limit=limit)
    return sent + _shown(connection, and_(of_them, jobs.c.state.in_(_UNSENT)), limit=limit - len(sent))


def job_states(
    connection: Connection, *, job_pks: Collection[int], submission_ids: Collection[Any]
) -> dict[tuple[str, str], int]:
    """How many of these jobs, and of the jobs of these submissions, are in which state, by (batch, state)."""
    of_them = or_(jobs.c.pk == _any(job_pks, jobs.c.pk), jobs.c.submission_id == _any(submission_ids, submissions.c.id))
    counted = select(jobs.c.batch_id, jobs.c.state, func.count().label("number")).where(of_them)
    rows = connection.execute(counted.group_by(jobs.c.batch_id, jobs.c.state)).all()
    return {(row.batch_id, row.state): row.number for row in rows}


def stopped_batches(connection: Connection, batch_ids: Collection[str]) -> dict[tuple[str, str], int]:
    """Those of these batches that are not running, as (batch, state), each counted once."""
    stopped = select(batches.c.id, batches.c.state).where(
        batches.c.id.in_(batch_ids), batches.c.state != BatchState.RUNNING
    )
    return {(row.id, row.state): 1 for row in connection.execute(stopped)}


def _any(values: Collection[Any], column: Column[Any]) -> Any:
    """One of these, however many they are."""
    return func.any(bindparam(None, list(values), ARRAY(column.type)))


def _shown(connection: Connection, condition: ColumnElement[bool], *, limit: int) -> list[ShownJob]:
    stored = (
        select(func.array_agg(assets.c.uri))
        .where(assets.c.job_pk == jobs.c.pk, assets.c.role == "original", assets.c.stored_at.is_not(None))
        .scalar_subquery()
    )
    rows = connection.execute(
        select(
            *(jobs.c[name] for name in ("pk", "name", "type", "model", "state", "batch_id", "attempts", "error")),
            jobs.c.ended_at,
            batches.c.name.label("collection"),
            batches.c.sandbox,
            batches.c.created_at,
            submissions.c.request_id,
            submissions.c.created_at.label("claimed_at"),
            submissions.c.sent_at,
            submissions.c.accepted_at,
            submissions.c.ended_at.label("generated_at"),
            submissions.c.answer["generation_seconds"][cast(jobs.c.position, Text)].as_float().label("seconds"),
            stored.label("uris"),
        )
        .join(batches, batches.c.id == jobs.c.batch_id)
        .outerjoin(submissions, submissions.c.id == jobs.c.submission_id)
        .where(condition)
        .order_by(jobs.c.pk)
        .limit(limit)
    )
    return [_shown_job(row) for row in rows]


def _shown_job(row: Any) -> ShownJob:
    return ShownJob(
        pk=row.pk,
        name=row.name,
        type=row.type,
        model=row.model,
        state=JobState(row.state),
        batch_id=row.batch_id,
        collection=row.collection,
        is_sandbox=row.sandbox,
        attempts=row.attempts,
        request_id=row.request_id,
        error=row.error,
        created_at=row.created_at,
        claimed_at=row.claimed_at,
        sent_at=row.sent_at,
        accepted_at=row.accepted_at,
        generated_at=row.generated_at,
        ended_at=row.ended_at,
        generation_seconds=row.seconds,
        uris=tuple(sorted(row.uris or ())),
    )
