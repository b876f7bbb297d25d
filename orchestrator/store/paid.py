"""The signed payment behind a submission, as people and scripts see it: never the signature itself."""

from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, select

from orchestrator.base.payments import to_atomic
from orchestrator.store.tables import payments

#: What `payment_document` reads, in rows of other things, too.
PAYMENT_COLUMNS: tuple[ColumnElement[Any], ...] = (
    payments.c.network.label("payment_network"),
    payments.c.payer.label("payment_payer"),
    payments.c.pay_to.label("payment_pay_to"),
    payments.c.amount.label("payment_amount"),
    payments.c.transaction.label("payment_transaction"),
    payments.c.state.label("payment_state"),
)


def payment_document(row: Any) -> dict[str, Any] | None:
    """The `payment` of a row with the payment's columns, its amount in atomic USDC; None where none was signed."""
    if row.payment_network is None:
        return None
    return {
        "network": row.payment_network,
        "payer": row.payment_payer,
        "pay_to": row.payment_pay_to,
        "amount_atomic": str(to_atomic(row.payment_amount)),
        "transaction": row.payment_transaction,
        "state": row.payment_state,
    }


def payment_of(connection: Connection, submission_id: UUID) -> dict[str, Any] | None:
    """The document of a submission's payment."""
    query = select(*PAYMENT_COLUMNS).where(payments.c.submission_id == submission_id)
    row = connection.execute(query).one_or_none()
    return None if row is None else payment_document(row)
