"""Signed payments of submissions: stored before they are sent, and ended with proof.

A payment ends in the transaction that ends its submission's doubt: its signature is gone from then on, and never sent
again. Where that was a person's word or the clock's, its signature is gone, but only its chain ends it. Lock order:
submission, then payment.
"""

from collections.abc import Collection
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, Connection, exists, func, null, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert

from orchestrator.base.states import PaymentState
from orchestrator.store.database import NOW
from orchestrator.store.leases import NO_LEASE
from orchestrator.store.tables import payments, submissions

if TYPE_CHECKING:
    from orchestrator.receipts.receipt import OrderedPayment


def record_signed(connection: Connection, submission_id: UUID, payment: "OrderedPayment", header: str | None) -> bool:
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


def leave_to_chain(connection: Connection, submission_id: UUID) -> None:
    """What became of its submission is no proof: its payment is never sent again, and its chain is asked."""
    of_submission = payments.c.submission_id == submission_id
    connection.execute(
        update(payments).where(of_submission, payments.c.state == PaymentState.SIGNED).values(signed=null(), due_at=NOW)
    )


def is_untold(connection: Connection, submission_id: UUID) -> bool:
    """Whether a payment has been too old for a day, and its chain, which was asked, has not told what became of it."""
    too_old_at = func.coalesce(payments.c.valid_before, payments.c.created_at)
    query = select(payments.c.id).where(
        payments.c.submission_id == submission_id,
        payments.c.state == PaymentState.SIGNED,
        payments.c.evidence.is_not(None),
        too_old_at + timedelta(days=1) < NOW,
    )
    return connection.execute(query).first() is not None


def is_awaited(connection: Connection, submission_id: UUID) -> bool:
    """Whether a payment is not known to be over, and has not been too old for a day either."""
    query = select(payments.c.id).where(
        payments.c.submission_id == submission_id,
        payments.c.state == PaymentState.SIGNED,
        func.coalesce(payments.c.valid_before, payments.c.created_at) + timedelta(days=1) >= NOW,
    )
    return connection.execute(query).first() is not None


def may_settle(batch_id: ColumnElement[Any]) -> ColumnElement[bool]:
    """Whether a payment of a batch may still settle, or has: its chain has not told."""
    return exists().where(
        payments.c.submission_id == submissions.c.id,
        submissions.c.batch_id == batch_id,
        payments.c.state == PaymentState.SIGNED,
    )


#: Most payments that came to nothing of any job of a submission.
_IN_VAIN = text(
    """
    SELECT coalesce(max(payments), 0) FROM (
        SELECT count(DISTINCT payment.id) AS payments
        FROM ledger JOIN payment ON payment.submission_id = ledger.submission_id
        WHERE payment.state = 'void' AND payment.evidence ->> 'finding' = 'cannot-settle'
            AND ledger.job_pk IN (SELECT job_pk FROM ledger WHERE submission_id = :submission)
        GROUP BY ledger.job_pk
    ) AS of_jobs
    """
)


def count_in_vain(connection: Connection, submission_id: UUID) -> int:
    """How many payments for the same work have left and come to nothing, by their chain's word."""
    return int(connection.execute(_IN_VAIN, {"submission": submission_id}).scalar_one())


def last_words(connection: Connection, submission_id: UUID) -> str:
    """What the provider said when a payment was first sent."""
    reason = select(submissions.c.answer["reason"].astext).where(submissions.c.id == submission_id)
    return connection.execute(reason).scalar_one_or_none() or "nothing"


def any_signed(connection: Connection, account_pk: int) -> bool:
    """Whether a payment of an account may still settle, for all we know."""
    signed = select(payments.c.id).where(payments.c.account_pk == account_pk, payments.c.state == PaymentState.SIGNED)
    return connection.execute(signed.limit(1)).first() is not None


def signed_of(connection: Connection, submission_ids: Collection[UUID]) -> set[UUID]:
    """Those of some submissions whose payment may still settle, for all we know."""
    signed = payments.c.submission_id.in_(submission_ids), payments.c.state == PaymentState.SIGNED
    return set(connection.execute(select(payments.c.submission_id).where(*signed)).scalars())


def has_signed(submission_id: ColumnElement[Any]) -> ColumnElement[bool]:
    """Whether a submission's payment may still settle, for all we know."""
    return exists().where(payments.c.submission_id == submission_id, payments.c.state == PaymentState.SIGNED)
