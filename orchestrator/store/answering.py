"""Decisions as answers: they open and close gates, and let what waits for the canaries go."""

from dataclasses import dataclass

from sqlalchemy import Connection, select

from orchestrator.base.states import BatchState, HoldCode
from orchestrator.store.batches import resume_batch
from orchestrator.store.careful_start import release_waiting, waits_for_canary
from orchestrator.store.gates import open_gates, reject_gate
from orchestrator.store.holds import lift_holds
from orchestrator.store.settling import settle_batch
from orchestrator.store.tables import holds, jobs
from orchestrator.store.unsent import Unsent, unsent


@dataclass(frozen=True, slots=True)
class Answers:
    """`opened` are the jobs (rows) whose gates are answered with yes, `closed` the names of those with no; `released`
    the jobs (rows) that need not wait for the canaries any more.
    """

    opened: tuple[int, ...] = ()
    closed: tuple[str, ...] = ()
    released: tuple[int, ...] = ()

    @property
    def sets_free(self) -> bool:
        """Whether something may be sent then that may not be sent now."""
        return bool(self.opened or self.released)


def waiting_for_canaries(connection: Connection, batch_id: str) -> tuple[int, ...]:
    """The jobs (rows) that wait for a person to approve the canaries, once these have ended; until then, none."""
    has_hold = select(holds.c.code).where(holds.c.batch_id == batch_id, holds.c.code == HoldCode.CANARY).exists()
    query = select(jobs.c.pk).where(jobs.c.batch_id == batch_id, waits_for_canary(), has_hold)
    return tuple(connection.execute(query.order_by(jobs.c.pk)).scalars())


def price_of(connection: Connection, batch_id: str, answers: Answers) -> Unsent:
    """What may be spent once these answers are given."""
    return unsent(connection, batch_id, released=answers.released, gates=answers.opened)


def give(connection: Connection, batch_id: str, answers: Answers) -> BatchState:
    """Give the answers; with a yes among them, the batch goes on. Call it under the batch's lock (`lock_batch`)."""
    for name in answers.closed:
        reject_gate(connection, batch_id, name)
    open_gates(connection, answers.opened)
    if answers.released:
        release_waiting(connection, batch_id, answers.released)
        lift_holds(connection, batch_id, (HoldCode.CANARY,))
    return resume_batch(connection, batch_id) if answers.sets_free else settle_batch(connection, batch_id)
