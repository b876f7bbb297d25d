"""Payments that may settle, and may have, leased to be sent again as they are or to be looked up on their chain."""

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, and_, null, select, update

from orchestrator.base.states import PaymentState, SubmissionState
from orchestrator.receipts.receipt import Order, OrderedJob, OrderedPayment
from orchestrator.store.accounts import Scope
from orchestrator.store.claims import ClaimedSubmission
from orchestrator.store.database import NOW
from orchestrator.store.leases import LEASE, NO_LEASE, Lease
from orchestrator.store.orders import order_of
from orchestrator.store.sending import in_seconds
from orchestrator.store.tables import payments, submissions


@dataclass(frozen=True, slots=True)
class OpenPayment:
    """A payment that is signed and has no answer that decides, leased to be sent again or looked up.

    `header` is as good as money; None where only a receipt tells of the payment, or its submission was settled without
    the provider's word and its chain's, so that it cannot be sent again.
    """

    pk: UUID
    token: UUID
    order: Order
    payment: OrderedPayment
    header: str | None = field(repr=False)
    sends: int
    evidence: dict[str, Any] | None

    @property
    def id(self) -> UUID:
        """Its submission."""
        return self.order.submission_id

    @property
    def batch_id(self) -> str:
        return self.order.batch.id

    @property
    def model(self) -> str:
        return self.order.jobs[0].model

    @property
    def jobs(self) -> tuple[OrderedJob, ...]:
        return self.order.jobs

    @property
    def items(self) -> list[dict[str, Any]]:
        """What is asked for, as the store keeps it, in the order of the request."""
        return [job.item for job in self.order.jobs]


#: What is sent: for the first time, or once more with the payment that it carried.
Posted = ClaimedSubmission | OpenPayment


def claim_open(connection: Connection, scope: Scope, *, lease: Lease, limit: int) -> list[OpenPayment]:
    """Lease up to `limit` signed payments that are due, and that nobody is just sending for the first time.

    Repeated with the same lease, since it is not known whether the first time was committed, it claims nothing more.
    """
    before = select(payments.c.id).where(payments.c.lease_token == lease.token)
    due = (
        select(payments.c.id)
        .join(submissions, submissions.c.id == payments.c.submission_id)
        .where(is_undecided(scope), payments.c.due_at <= NOW, payments.c.lease_token.is_(None))
        .order_by(payments.c.due_at)
        .limit(limit)
        .with_for_update(of=payments, skip_locked=True)
    )
    chosen = list(connection.execute(before).scalars()) or due.scalar_subquery()
    leasing = update(payments).where(payments.c.id.in_(chosen)).values(LEASE).returning(payments)
    leased = connection.execute(leasing, lease.parameters()).all()
    return [_open_payment(connection, row) for row in leased]


def is_undecided(scope: Scope) -> ColumnElement[bool]:
    """Of payments joined with their submissions: whether it is for the engine to send again or to look up.

    One that is just being sent for the first time is not. Where a person or time has settled its submission, it is.
    """
    return and_(
        payments.c.state == PaymentState.SIGNED,
        submissions.c.state != SubmissionState.SENT,
        scope.covers(submissions.c.account_pk, submissions.c.batch_id),
    )


def _open_payment(connection: Connection, row: Any) -> OpenPayment:
    order = order_of(connection, row.submission_id)
    assert order.payment is not None
    return OpenPayment(row.id, row.lease_token, order, order.payment, row.signed, row.sends, row.evidence)


def put_back(
    connection: Connection, work: OpenPayment, *, in_: float, was_sent: bool = False, evidence: dict[str, Any] | None
) -> bool:
    """Not decided yet: it is due again in so many seconds. `evidence` is what the last look at the chain said."""
    return bool(
        connection.execute(
            update(payments)
            .where(payments.c.id == work.pk, payments.c.lease_token == work.token)
            .values(
                NO_LEASE
                | {"due_at": in_seconds(in_), "sends": payments.c.sends + int(was_sent)}
                | {"evidence": null() if evidence is None else evidence}
            )
        ).rowcount
    )
