"""Finished jobs that wait to be stored: how many, and until when their sources last."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select

from orchestrator.base.states import ENDED_BATCHES, JobState
from orchestrator.store.accounts import Scope
from orchestrator.store.database import NOW
from orchestrator.store.sending import in_seconds
from orchestrator.store.tables import batches, jobs


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
    """

    finished: int
    untried: int
    generating: int
    first_expires_at: datetime | None


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
    return Stake(row.finished, row.untried, row.generating, row.first)
