"""Gates: those that need a job with a gate wait, once it is completed, until a person has looked at its result."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import BigInteger, Connection, and_, any_, bindparam, literal, select, text, update
from sqlalchemy.dialects.postgresql import ARRAY

from orchestrator.base.errors import UsageError
from orchestrator.base.money import in_words
from orchestrator.base.states import Gate, HoldCode, JobState, WaitsFor
from orchestrator.store import chains
from orchestrator.store.doubtful import find_job
from orchestrator.store.holds import lift_holds, put_hold
from orchestrator.store.tables import job_needs, jobs
from orchestrator.store.units import batch_unit
from orchestrator.store.unsent import unsent

#: So many are named in a hold's message; `orchestrator jobs` lists all.
_NAMED = 5
_PKS = ARRAY(BigInteger())
_AT_GATE = and_(jobs.c.state == JobState.WAITING, jobs.c.waits_for == WaitsFor.GATE)


def note_gates(connection: Connection, batch_id: str) -> None:
    """Say at once, while the rest goes on, whose results wait to be looked at and what that holds back."""
    gates = _closed_gates(connection, batch_id)
    if not gates:
        lift_holds(connection, batch_id, (HoldCode.GATE,))
        return
    names = [gate.name for gate in gates]
    count, price, _ = unsent(connection, batch_id, gates=[gate.pk for gate in gates])
    shown = ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
    waits = f"{count} job{' waits' if count == 1 else 's wait'}, {in_words(price, batch_unit(connection, batch_id))}"
    against = f"to leave them out: orchestrator reject {batch_id} --job {names[0] if len(names) == 1 else 'ID'}"
    message = f"look at the result{'' if len(names) == 1 else 's'} of {shown}: {waits}; {against}"
    only = f" --job {names[0]}" if len(names) == 1 else ""
    put_hold(connection, batch_id, HoldCode.GATE, message, f"orchestrator approve {batch_id}{only}")


def _closed_gates(connection: Connection, batch_id: str) -> list[Any]:
    """The jobs (pk, name) whose gates keep others back now, in the manifest's order."""
    dependents = select(jobs.c.pk).where(jobs.c.batch_id == batch_id, _AT_GATE)
    needed = select(job_needs.c.needed_pk).where(job_needs.c.job_pk.in_(dependents))
    query = select(jobs.c.pk, jobs.c.name).where(jobs.c.pk.in_(needed), jobs.c.gate == Gate.MANUAL)
    return list(connection.execute(query.order_by(jobs.c.ordinal)).all())


def closed_gates(connection: Connection, batch_id: str) -> tuple[int, ...]:
    """The jobs (rows) whose results wait to be looked at."""
    return tuple(gate.pk for gate in _closed_gates(connection, batch_id))


def find_gate(connection: Connection, batch_id: str, job: str) -> Any:
    """The row of a job whose gate can be answered. Raises UsageError, telling why not."""
    found = find_job(connection, batch_id, job)
    who = f"job {job} of {batch_id}"
    if found.gate is None:
        raise UsageError(f"{who} has no gate", hint=f"orchestrator status {batch_id} says what waits")
    if found.gate != Gate.MANUAL:
        raise UsageError(f"{who}: its result was {found.gate}")
    if found.state != JobState.COMPLETED:
        raise UsageError(f"{who} is {found.state}: there is no result to look at yet")
    return found


_LET_GO = text(
    """
    UPDATE job SET state = 'pending', waits_for = NULL, due_at = orchestrator_now()
    WHERE state = 'waiting' AND waits_for = 'gate'
      AND pk IN (SELECT job_pk FROM job_need WHERE needed_pk = ANY(:gates))
      AND NOT EXISTS (
          SELECT FROM job_need JOIN job AS needed ON needed.pk = job_need.needed_pk
          WHERE job_need.job_pk = job.pk AND needed.gate = 'manual'
      )
    """
).bindparams(bindparam("gates", type_=_PKS))


def open_gates(connection: Connection, gates: Sequence[int]) -> None:
    """Yes to the results of these jobs (rows): what waits for them alone may go."""
    _answer(connection, gates, Gate.APPROVED)
    connection.execute(_LET_GO, {"gates": list(gates)})


def reject_gate(connection: Connection, batch_id: str, job: str) -> None:
    """No to the result of a job: all that needs it is skipped. Raises UsageError where there is nothing to answer.

    Call it under the batch's lock (`lock_batch`).
    """
    gate = find_gate(connection, batch_id, job)
    _answer(connection, [gate.pk], Gate.REJECTED)
    chains.skip_dependents(connection, gate.pk, f"it needs {job}, whose result was rejected")
    chains.pass_on_all_ends(connection, batch_id)


def _answer(connection: Connection, gates: Sequence[int], word: Gate) -> None:
    named = jobs.c.pk == any_(literal(list(gates), _PKS))
    connection.execute(update(jobs).where(named, jobs.c.gate == Gate.MANUAL).values(gate=word))
