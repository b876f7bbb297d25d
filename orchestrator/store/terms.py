"""How a submission is paid for: what its charges are read by, and what a balance has to cover."""

from decimal import Decimal
from uuid import UUID

from sqlalchemy import Connection, func, select

from orchestrator.base.payments import Payment
from orchestrator.base.states import JobState
from orchestrator.store.tables import batches, jobs, submissions


def payment_of(connection: Connection, submission_id: UUID) -> Payment:
    """The way its batch pays."""
    of_batch = select(batches.c.payment).join(submissions, submissions.c.batch_id == batches.c.id)
    return Payment(connection.execute(of_batch.where(submissions.c.id == submission_id)).scalar_one())


def work_credits(connection: Connection, submission_id: UUID) -> dict[int, Decimal]:
    """The catalogue's price in credits by position; empty where credits pay."""
    rows = connection.execute(
        select(jobs.c.position, jobs.c.work_credits).where(
            jobs.c.submission_id == submission_id, jobs.c.work_credits.is_not(None)
        )
    )
    return {row.position: row.work_credits for row in rows}


def reserved(connection: Connection, submission_id: UUID) -> Decimal:
    """What a submission sets aside, in the account's unit."""
    return Decimal(
        connection.execute(select(submissions.c.reserved).where(submissions.c.id == submission_id)).scalar_one()
    )


def unsent_estimate(connection: Connection, batch_id: str) -> Decimal:
    """What the jobs of a batch are estimated at that were not sent yet, in the account's unit."""
    price = func.coalesce(jobs.c.price, jobs.c.estimate)
    unsent = jobs.c.state.in_([JobState.WAITING, JobState.PENDING])
    found = select(func.coalesce(func.sum(price), 0)).where(jobs.c.batch_id == batch_id, unsent)
    return Decimal(connection.execute(found).scalar_one())
