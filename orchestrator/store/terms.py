"""How a submission is paid for: what its charges are read by, and what a balance has to cover."""

from collections.abc import Collection
from decimal import Decimal
from uuid import UUID

from sqlalchemy import Connection, and_, func, or_, select

from orchestrator.base.payments import Payment
from orchestrator.base.states import JobState
from orchestrator.store.tables import batches, jobs, submissions


def payments_of(connection: Connection, submission_ids: Collection[UUID]) -> dict[UUID, Payment]:
    """The way the batch of each submission pays."""
    of_batch = select(submissions.c.id, batches.c.payment).join(batches, batches.c.id == submissions.c.batch_id)
    rows = connection.execute(of_batch.where(submissions.c.id.in_(submission_ids)))
    return {row.id: Payment(row.payment) for row in rows}


def payment_of(connection: Connection, submission_id: UUID) -> Payment:
    """The way its batch pays."""
    return payments_of(connection, [submission_id])[submission_id]


def account_of(connection: Connection, batch_id: str) -> int:
    """The account that a batch is paid by."""
    return int(connection.execute(select(batches.c.account_pk).where(batches.c.id == batch_id)).scalar_one())


def usdc_per_credit(connection: Connection, submission_id: UUID) -> Decimal | None:
    """What a credit of a submission's work costs a wallet, as it was planned; None where the catalogue does not say.

    By the estimates: a price that was raised since is that of more credits, not of dearer ones.
    """
    sums = select(func.sum(jobs.c.estimate), func.sum(jobs.c.work_credits), func.bool_and(jobs.c.work_credits > 0))
    usdc, credit_amount, is_known = connection.execute(sums.where(jobs.c.submission_id == submission_id)).one()
    return usdc / credit_amount if is_known else None


def reserved(connection: Connection, submission_id: UUID) -> Decimal:
    """What a submission sets aside, in the account's unit."""
    return Decimal(
        connection.execute(select(submissions.c.reserved).where(submissions.c.id == submission_id)).scalar_one()
    )


def unanswered_estimate(connection: Connection, batch_id: str, besides: UUID) -> Decimal:
    """What the jobs of a batch are estimated at that were not sent, or not answered yet, in the account's unit: without
    those of the submission `besides`.
    """
    price = func.coalesce(jobs.c.price, jobs.c.estimate)
    under_way = and_(jobs.c.state == JobState.SUBMITTING, jobs.c.submission_id != besides)
    unsent = or_(jobs.c.state.in_([JobState.WAITING, JobState.PENDING]), under_way)
    found = select(func.coalesce(func.sum(price), 0)).where(jobs.c.batch_id == batch_id, unsent)
    return Decimal(connection.execute(found).scalar_one())
