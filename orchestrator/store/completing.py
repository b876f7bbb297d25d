"""Names that begin like what somebody types: of batches, collections, jobs and schedules. A few of each are enough."""

from collections.abc import Collection

from sqlalchemy import Connection, func, select

from orchestrator.base.states import JobState
from orchestrator.store.tables import batches, jobs, schedules

_MOST = 50


def batch_ids(connection: Connection, typed: str) -> list[tuple[str, str]]:
    """The newest batches with such ids, each with its state."""
    found = (
        select(batches.c.id, batches.c.state)
        .where(batches.c.id.startswith(typed, autoescape=True))
        .order_by(batches.c.created_at.desc(), batches.c.id)
        .limit(_MOST)
    )
    return [(row.id, row.state) for row in connection.execute(found)]


def collection_names(connection: Connection, typed: str) -> list[str]:
    """The collections with such names, the one that was submitted last first."""
    found = (
        select(batches.c.name)
        .where(batches.c.name.startswith(typed, autoescape=True))
        .group_by(batches.c.name)
        .order_by(func.max(batches.c.created_at).desc(), batches.c.name)
        .limit(_MOST)
    )
    return [str(name) for name in connection.execute(found).scalars()]


def job_names(connection: Connection, batch_id: str, typed: str, states: Collection[JobState]) -> list[tuple[str, str]]:
    """The jobs of a batch with such ids, each with its state, in the manifest's order; only those in these states."""
    found = (
        select(jobs.c.name, jobs.c.state)
        .where(jobs.c.batch_id == batch_id, jobs.c.name.startswith(typed, autoescape=True), jobs.c.state.in_(states))
        .order_by(jobs.c.pk)
        .limit(_MOST)
    )
    return [(row.name, row.state) for row in connection.execute(found)]


def schedule_names(connection: Connection, typed: str) -> list[str]:
    """The schedules with such names, of all accounts."""
    found = (
        select(schedules.c.name)
        .where(schedules.c.name.startswith(typed, autoescape=True))
        .distinct()
        .order_by(schedules.c.name)
        .limit(_MOST)
    )
    return [str(name) for name in connection.execute(found).scalars()]
