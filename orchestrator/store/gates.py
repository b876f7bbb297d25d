"""Gates: those that need a job with a gate wait, once it is completed, until a person has looked at its result."""

from typing import Any

from sqlalchemy import Connection, and_, func, select

from orchestrator.base.money import canonical
from orchestrator.base.states import Gate, HoldCode, JobState, WaitsFor
from orchestrator.store.holds import lift_holds, put_hold
from orchestrator.store.tables import job_needs, jobs

#: So many are named in a hold's message; `orchestrator jobs` lists all.
_NAMED = 5
_AT_GATE = and_(jobs.c.state == JobState.WAITING, jobs.c.waits_for == WaitsFor.GATE)


def note_gates(connection: Connection, batch_id: str) -> None:
    """Say at once, while the rest goes on, whose results wait to be looked at and what that holds back."""
    names = [gate.name for gate in _closed_gates(connection, batch_id)]
    if not names:
        lift_holds(connection, batch_id, (HoldCode.GATE,))
        return
    price = func.coalesce(jobs.c.price, jobs.c.estimate)
    count, credit_amount = connection.execute(
        select(func.count(), func.sum(price)).where(jobs.c.batch_id == batch_id, _AT_GATE)
    ).one()
    shown = ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
    waits = f"{count} job{' waits' if count == 1 else 's wait'}, {canonical(credit_amount)} credits"
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
