"""Payments whose chain has not answered for long: a run does not wait for them for ever, yet they are looked up on."""

from typing import Any

from sqlalchemy import ColumnElement, Connection, exists, func, null, select, update

from orchestrator.base.states import PaymentState
from orchestrator.store.database import NOW
from orchestrator.store.tables import payments, submissions

#: In the evidence of a payment: its chain has not answered for as long as a run waits.
STALLED = "is_stalled"


def is_awaited(submission_id: ColumnElement[Any]) -> ColumnElement[bool]:
    """Whether a submission's payment may still settle, and it is soon known whether it has."""
    return exists().where(
        payments.c.submission_id == submission_id, payments.c.state == PaymentState.SIGNED, ~is_stalled()
    )


def is_stalled() -> ColumnElement[bool]:
    """Whether the chain of a payment has not answered for as long as a run waits."""
    return func.coalesce(payments.c.evidence[STALLED].as_boolean(), False)


def await_anew(connection: Connection, batch_id: str) -> None:
    """Ask the silent chains of a batch's payments now, and wait for them as long as at first."""
    of_batch = select(submissions.c.id).where(submissions.c.batch_id == batch_id)
    connection.execute(
        update(payments)
        .where(payments.c.submission_id.in_(of_batch), payments.c.state == PaymentState.SIGNED, is_stalled())
        .values(evidence=null(), due_at=NOW)
    )
