"""Finished jobs that wait to be stored: how many, and until when their sources last."""

from dataclasses import dataclass
from datetime import datetime
from math import inf

from sqlalchemy import Connection, and_, func, select

from orchestrator.base.states import ENDED_BATCHES, HoldCode, JobState
from orchestrator.store.accounts import Scope
from orchestrator.store.database import NOW
from orchestrator.store.holds import has_hold, has_job
from orchestrator.store.sending import in_seconds
from orchestrator.store.tables import batches, holds, jobs


@dataclass(frozen=True, slots=True)
class Waiting:
    """Jobs of a batch whose sources expire within the same minute, `seconds_left` from now."""

    batch_id: str
    seconds_left: float
    jobs: int


@dataclass(frozen=True, slots=True)
class Stake:
    """What a batch may lose: finished jobs that are not stored (`untried`: not even fetched), and those that the
    provider still works on.

    `quiet_seconds` have passed since any process stored one of its jobs; infinite where none is stored.
    """

    finished: int
    untried: int
    generating: int
    first_expires_at: datetime | None
    quiet_seconds: float


def untried_copies(connection: Connection, scope: Scope) -> list[Waiting]:
    """Finished jobs that nobody has tried to store yet. (Of those that failed once the files are in the spool, or
    their source is at fault, which no rate of ours mends.)
    """
    left = func.floor(func.extract("epoch", jobs.c.source_expires_at - NOW) / 60) * 60
    rows = connection.execute(
        select(jobs.c.batch_id, left.label("left"), func.count().label("n"))
        .where(
            jobs.c.state == JobState.COPYING,
            jobs.c.copy_failures == 0,
            scope.covers(jobs.c.account_pk, jobs.c.batch_id),
        )
        .group_by(jobs.c.batch_id, "left")
    )
    return [Waiting(row.batch_id, float(row.left), row.n) for row in rows]


@dataclass(frozen=True, slots=True)
class Expiring:
    """Finished jobs of a batch that are not stored, while the source of the first expires soon."""

    batch_id: str
    jobs: int
    first_expires_at: datetime


def expiring_within(connection: Connection, scope: Scope, seconds: float) -> list[Expiring]:
    """The batches with finished jobs that are not stored and whose sources expire within `seconds`."""
    first = func.min(jobs.c.source_expires_at)
    rows = connection.execute(
        select(jobs.c.batch_id, func.count().label("n"), first.label("first"))
        .where(
            jobs.c.state == JobState.COPYING,
            jobs.c.source_expires_at < in_seconds(seconds),
            scope.covers(jobs.c.account_pk, jobs.c.batch_id),
        )
        .group_by(jobs.c.batch_id)
        .order_by(jobs.c.batch_id)
    )
    return [Expiring(row.batch_id, row.n, row.first) for row in rows]


def stored_within(connection: Connection, scope: Scope, seconds: float) -> int:
    """How many jobs of open batches were stored in the last `seconds`, by any process."""
    query = (
        select(func.count())
        .select_from(jobs.join(batches, batches.c.id == jobs.c.batch_id))
        .where(
            scope.covers(batches.c.account_pk, batches.c.id),
            batches.c.state.not_in(ENDED_BATCHES),
            jobs.c.state == JobState.COMPLETED,
            jobs.c.ended_at > in_seconds(-seconds),
        )
    )
    return int(connection.execute(query).scalar_one())


def stake_of(connection: Connection, batch_id: str) -> Stake:
    """What is at stake while the destination of a batch takes nothing."""
    finished = jobs.c.state == JobState.COPYING
    row = connection.execute(
        select(
            func.count().filter(finished).label("finished"),
            func.count().filter(finished, jobs.c.copy_failures == 0).label("untried"),
            func.count().filter(~finished).label("generating"),
            func.min(jobs.c.source_expires_at).filter(finished).label("first"),
        ).where(jobs.c.batch_id == batch_id, jobs.c.state.in_([JobState.COPYING, JobState.GENERATING]))
    ).one()
    return Stake(row.finished, row.untried, row.generating, row.first, _quiet_seconds(connection, batch_id))


def _quiet_seconds(connection: Connection, batch_id: str) -> float:
    quiet = connection.execute(
        select(func.extract("epoch", NOW - func.max(jobs.c.ended_at))).where(
            jobs.c.batch_id == batch_id, jobs.c.state == JobState.COMPLETED
        )
    ).scalar_one()
    return inf if quiet is None else float(quiet)


def has_failing_hold(connection: Connection, batch_id: str) -> bool:
    """Whether a batch sends nothing because its files cannot be stored, or not in time."""
    held = select(holds.c.code).where(holds.c.batch_id == batch_id, holds.c.code == HoldCode.DESTINATION_FAILING)
    return connection.execute(held).first() is not None


def failing_without_failures(connection: Connection, scope: Scope) -> list[str]:
    """Batches on hold because their files cannot be stored in time, of which no job waits for another try."""
    failed = and_(jobs.c.state == JobState.COPYING, jobs.c.copy_failures > 0)
    found = select(batches.c.id).where(
        scope.covers(batches.c.account_pk, batches.c.id), has_hold(HoldCode.DESTINATION_FAILING), ~has_job(failed)
    )
    return [str(batch_id) for batch_id in connection.execute(found.order_by(batches.c.id)).scalars()]
