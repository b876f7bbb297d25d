"""How a submission is paid for, as far as its charges are read by it."""

from decimal import Decimal
from uuid import UUID

from sqlalchemy import Connection, select

from orchestrator.base.payments import Payment
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
