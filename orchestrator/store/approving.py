"""What a batch waits for a person to approve, and the answer yes."""

from dataclasses import dataclass
from decimal import Decimal

from sqlalchemy import Connection, select

from orchestrator.base.errors import UsageError
from orchestrator.base.states import HoldCode
from orchestrator.store.careful_start import forgive_failures, release_waiting, waits_for_canary
from orchestrator.store.doubtful import find_job
from orchestrator.store.gates import closed_gates, find_gate, open_gates
from orchestrator.store.holds import lift_holds
from orchestrator.store.tables import holds, jobs
from orchestrator.store.unsent import unsent

#: The holds that `approve` answers.
APPROVABLE_HOLDS = (HoldCode.CANARY, HoldCode.PRICE_CHANGED, HoldCode.STOP_WHEN, HoldCode.UNUSUAL_WORK, HoldCode.GATE)


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be approved: the rows of waiting jobs and of jobs with gates, holds, and what may be spent then.

    `waiting_jobs` may go for it, with all that then goes by itself after them, at `waiting_credits`; `pending_credits`
    are for what goes anyway.
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
    freed = unsent(connection, batch_id, released=waiting, gates=gates)
    return Asked(
        waiting=waiting,
        gates=gates,
        waiting_jobs=freed.freed_jobs,
        holds=tuple(HoldCode(row.code) for row in found),
        waiting_credits=freed.freed_credits,
        pending_credits=freed.by_itself,
        words=tuple(f"{row.code}: {row.message}" for row in found),
    )


def _waiting(connection: Connection, batch_id: str, job: str | None) -> tuple[int, ...]:
    """The jobs (rows) that wait for the canaries."""
    named = [jobs.c.name == job] if job is not None else []
    query = select(jobs.c.pk).where(jobs.c.batch_id == batch_id, waits_for_canary(), *named)
    return tuple(connection.execute(query).scalars())


def _gates(connection: Connection, batch_id: str, job: str | None, *, is_waiting: bool) -> tuple[int, ...]:
    if job is None:
        return closed_gates(connection, batch_id)
    found = find_job(connection, batch_id, job)
    if found.gate is not None and not is_waiting:
        return (find_gate(connection, batch_id, job).pk,)
    if not is_waiting:
        raise UsageError(f"job {job} of {batch_id} is {found.state}; it does not wait for approval")
    return ()


def answer(connection: Connection, batch_id: str, asked: Asked) -> None:
    """Yes: the waiting jobs may go, gates open, holds are lifted, and past failures do not stop it again."""
    release_waiting(connection, batch_id, asked.waiting)
    open_gates(connection, asked.gates)
    lift_holds(connection, batch_id, asked.holds)
    if HoldCode.STOP_WHEN in asked.holds:
        forgive_failures(connection, batch_id)
