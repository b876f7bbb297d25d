"""Signed payments of submissions: stored before they are sent, and ended with proof.

A payment ends in the transaction that ends its submission's doubt: its signature is gone from then on, and never sent
again. Lock order: submission, then payment.
"""

from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, Connection, exists, null, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from orchestrator.base.states import PaymentState
from orchestrator.receipts.receipt import OrderedPayment
from orchestrator.store.database import NOW
from orchestrator.store.leases import NO_LEASE
from orchestrator.store.tables import payments, submissions


def record_signed(connection: Connection, submission_id: UUID, payment: OrderedPayment, header: str | None) -> bool:
    """Store a signed payment before any byte of it leaves; one that only a receipt tells of has no `header`.

    Repeating it changes nothing. False: another submission has this very payment (on Solana without a memo, two equal
    ones under one blockhash are the same transaction), so it must not be sent.
    """
    of_account = select(submissions.c.account_pk).where(submissions.c.id == submission_id).scalar_subquery()
    values = payment.model_dump() | {
        "id": uuid4(),
        "account_pk": of_account,
        "submission_id": submission_id,
        "state": PaymentState.SIGNED,
        "signed": header,
        "sends": 0 if header is None else 1,
        "due_at": NOW,
        "created_at": NOW,
    }
    connection.execute(upsert(payments).values(values).on_conflict_do_nothing())
    stored = select(payments.c.id).where(payments.c.submission_id == submission_id, payments.c.nonce == payment.nonce)
    return connection.execute(stored).first() is not None


def end(
    connection: Connection,
    submission_id: UUID,
    state: PaymentState,
    *,
    transaction: str | None = None,
    receipt: dict[str, Any] | None = None,
    evidence: dict[str, Any] | None = None,
) -> bool:
    """The payment of a submission has settled, or is void: its signature is removed. False: none of it is open."""
    told = {"transaction": transaction, "receipt": receipt, "evidence": evidence}
    values = NO_LEASE | {"state": state, "signed": null(), "due_at": null(), "ended_at": NOW}
    return bool(
        connection.execute(
            update(payments)
            .where(payments.c.submission_id == submission_id, payments.c.state == PaymentState.SIGNED)
            .values(values | {name: value for name, value in told.items() if value is not None})
        ).rowcount
    )


def has_signed(submission_id: ColumnElement[Any]) -> ColumnElement[bool]:
    """Whether a submission's payment may still settle, for all we know."""
    return exists().where(payments.c.submission_id == submission_id, payments.c.state == PaymentState.SIGNED)
