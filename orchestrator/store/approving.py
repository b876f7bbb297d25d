"""What a batch waits for a person to approve, and the answer yes."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, func, select

from orchestrator.base.errors import UsageError
from orchestrator.base.money import ZERO
from orchestrator.base.states import HoldCode, JobState
from orchestrator.store.careful_start import forgive_failures, release_waiting, waits_for_canary
from orchestrator.store.doubtful import find_job
from orchestrator.store.holds import lift_holds
from orchestrator.store.tables import holds, jobs

#: The holds that `approve` answers.
APPROVABLE_HOLDS = (HoldCode.CANARY, HoldCode.PRICE_CHANGED, HoldCode.STOP_WHEN)
_PRICE = func.coalesce(jobs.c.price, jobs.c.estimate)


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be approved: the rows of waiting jobs, holds, and the credits that may be spent then."""

    waiting: tuple[int, ...]
    holds: tuple[HoldCode, ...]
    waiting_credits: Decimal
    pending_credits: Decimal
    words: tuple[str, ...]

    @property
    def credits(self) -> Decimal:
        return self.waiting_credits + self.pending_credits


def find_asked(connection: Connection, batch_id: str, job: str | None) -> Asked:
    """What approving a batch, or one waiting job of it, means now. Raises UsageError where that is nothing."""
    waiting = _waiting(connection, batch_id, job)
    found = connection.execute(
        select(holds).where(holds.c.batch_id == batch_id, holds.c.code.in_(APPROVABLE_HOLDS)).order_by(holds.c.code)
    ).all()
    if job is not None:
        found = []
    elif not waiting and not found:
        raise UsageError(f"there is nothing to approve in {batch_id}", hint=f"orchestrator status {batch_id}")
    return Asked(
        waiting=tuple(row.pk for row in waiting),
        holds=tuple(HoldCode(row.code) for row in found),
        waiting_credits=sum((row.price for row in waiting), ZERO),
        pending_credits=_pending_credits(connection, batch_id),
        words=tuple(f"{row.code}: {row.message}" for row in found),
    )


def _waiting(connection: Connection, batch_id: str, job: str | None) -> Sequence[Any]:
    if job is not None:
        found = find_job(connection, batch_id, job)
        if found.state != JobState.WAITING:
            raise UsageError(f"job {job} of {batch_id} is {found.state}; it does not wait for approval")
    named = [jobs.c.name == job] if job is not None else []
    query = select(jobs.c.pk, _PRICE.label("price")).where(jobs.c.batch_id == batch_id, waits_for_canary(), *named)
    return connection.execute(query).all()


def _pending_credits(connection: Connection, batch_id: str) -> Decimal:
    pending = select(func.coalesce(func.sum(_PRICE), 0)).where(
        jobs.c.batch_id == batch_id, jobs.c.state == JobState.PENDING
    )
    return Decimal(connection.execute(pending).scalar_one())


def answer(connection: Connection, batch_id: str, asked: Asked) -> None:
    """Yes: the waiting jobs may go, the holds are lifted, and what failed so far does not stop it again."""
    release_waiting(connection, batch_id, asked.waiting)
    lift_holds(connection, batch_id, asked.holds)
    if HoldCode.STOP_WHEN in asked.holds:
        forgive_failures(connection, batch_id)
