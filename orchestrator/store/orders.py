"""What a submission buys, as one order: its batch and its jobs, at their places in the request."""

from uuid import UUID

from sqlalchemy import Connection, func, select

from orchestrator.base.payments import Payment
from orchestrator.receipts.receipt import Order, OrderedBatch, OrderedJob, OrderedPayment
from orchestrator.store.tables import accounts, batches, jobs, payments, submissions


def order_of(connection: Connection, submission_id: UUID) -> Order:
    """The order of a submission that is sent and has its jobs."""
    row = connection.execute(
        select(
            batches,
            accounts.c.origin,
            accounts.c.account,
            submissions.c.body_sha256,
            submissions.c.sent_at,
            submissions.c.reserved,
        )
        .join(submissions, submissions.c.batch_id == batches.c.id)
        .join(accounts, accounts.c.pk == submissions.c.account_pk)
        .where(submissions.c.id == submission_id)
    ).one()
    ordered = connection.execute(
        select(jobs, func.coalesce(jobs.c.price, jobs.c.estimate).label("reserved_price"))
        .where(jobs.c.submission_id == submission_id)
        .order_by(jobs.c.position)
    )
    return Order(
        submission_id=submission_id,
        origin=row.origin,
        account=row.account,
        body_sha256=row.body_sha256,
        sent_at=row.sent_at,
        reserved=row.reserved,
        batch=OrderedBatch.model_validate({name: getattr(row, name) for name in OrderedBatch.model_fields}),
        jobs=tuple(
            OrderedJob(
                position=job.position,
                ordinal=job.ordinal,
                name=job.name,
                type=job.type,
                model=job.model,
                labels=job.labels,
                estimate=job.estimate,
                work_credits=job.work_credits,
                price=job.reserved_price,
                agreed=job.agreed,
                item=job.item,
                fingerprint=job.fingerprint,
                row=job.row,
                gate=job.gate,
            )
            for job in ordered
        ),
        payment=_payment_of(connection, submission_id) if Payment(row.payment).is_direct else None,
    )


def _payment_of(connection: Connection, submission_id: UUID) -> OrderedPayment | None:
    """Without its signature."""
    row = connection.execute(
        select(*(payments.c[name] for name in OrderedPayment.model_fields)).where(
            payments.c.submission_id == submission_id
        )
    ).one_or_none()
    return None if row is None else OrderedPayment.model_validate(dict(row._mapping))
