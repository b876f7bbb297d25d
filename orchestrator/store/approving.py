"""What a batch waits for a person to approve, and the answer yes."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, func, or_, select

from orchestrator.base.errors import UsageError
from orchestrator.base.states import HoldCode, JobState, WaitsFor
from orchestrator.store.careful_start import forgive_failures, release_waiting, waits_for_canary
from orchestrator.store.doubtful import find_job
from orchestrator.store.gates import closed_gates, find_gate, open_gates, waiting_at
from orchestrator.store.holds import lift_holds
from orchestrator.store.tables import holds, jobs

#: The holds that `approve` answers.
APPROVABLE_HOLDS = (HoldCode.CANARY, HoldCode.PRICE_CHANGED, HoldCode.STOP_WHEN, HoldCode.UNUSUAL_WORK, HoldCode.GATE)
_PRICE = func.coalesce(jobs.c.price, jobs.c.estimate)


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be approved: the rows of waiting jobs and of jobs with gates, holds, and what may be spent then.

    `waiting_jobs` wait for it, at `waiting_credits`; `pending_credits` are for what could be sent anyway.
    """

    waiting: tuple[int, ...]
    gates: tuple[int, ...]
    waiting_jobs: int
    holds: tuple[HoldCode, ...]
    waiting_credits: Decimal
    pending_credits: Decimal
    words: tuple[str, ...]

    @property
    def credits(self) -> Decimal:
        return self.waiting_credits + self.pending_credits


def find_asked(connection: Connection, batch_id: str, job: str | None) -> Asked:
    """What approving a batch, or one job of it, means now. Raises UsageError where that is nothing.

    A job that waits for the canaries may go then; of one with a gate, those that need its result.
    """
    waiting = _waiting(connection, batch_id, job)
    gates = _gates(connection, batch_id, job, is_waiting=bool(waiting))
    found = connection.execute(
        select(holds).where(holds.c.batch_id == batch_id, holds.c.code.in_(APPROVABLE_HOLDS)).order_by(holds.c.code)
    ).all()
    if job is not None:
        found = []
    elif not (waiting or gates or found):
        raise UsageError(f"there is nothing to approve in {batch_id}", hint=f"orchestrator status {batch_id}")
    at_gates, gated_credits = waiting_at(connection, gates)
    return Asked(
        waiting=tuple(row.pk for row in waiting),
        gates=gates,
        waiting_jobs=len(waiting) + at_gates,
        holds=tuple(HoldCode(row.code) for row in found),
        waiting_credits=sum((row.price for row in waiting), gated_credits),
        pending_credits=_pending_credits(connection, batch_id),
        words=tuple(f"{row.code}: {row.message}" for row in found),
    )


def _waiting(connection: Connection, batch_id: str, job: str | None) -> Sequence[Any]:
    """The jobs that wait for the canaries."""
    named = [jobs.c.name == job] if job is not None else []
    query = select(jobs.c.pk, _PRICE.label("price")).where(jobs.c.batch_id == batch_id, waits_for_canary(), *named)
    return connection.execute(query).all()


def _gates(connection: Connection, batch_id: str, job: str | None, *, is_waiting: bool) -> tuple[int, ...]:
    if job is None:
        return closed_gates(connection, batch_id)
    found = find_job(connection, batch_id, job)
    if found.gate is not None and not is_waiting:
        return (find_gate(connection, batch_id, job).pk,)
    if not is_waiting:
        raise UsageError(f"job {job} of {batch_id} is {found.state}; it does not wait for approval")
    return ()


def _pending_credits(connection: Connection, batch_id: str) -> Decimal:
    """The price of what may be sent, now or once the jobs that it needs are completed."""
    may_go = or_(jobs.c.state == JobState.PENDING, jobs.c.waits_for == WaitsFor.DEPENDENCY)
    pending = select(func.coalesce(func.sum(_PRICE), 0)).where(jobs.c.batch_id == batch_id, may_go)
    return Decimal(connection.execute(pending).scalar_one())


def answer(connection: Connection, batch_id: str, asked: Asked) -> None:
    """Yes: the waiting jobs may go, gates open, holds are lifted, and past failures do not stop it again."""
    release_waiting(connection, batch_id, asked.waiting)
    open_gates(connection, asked.gates)
    lift_holds(connection, batch_id, asked.holds)
    if HoldCode.STOP_WHEN in asked.holds:
        forgive_failures(connection, batch_id)
