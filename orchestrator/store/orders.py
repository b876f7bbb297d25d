"""What a submission buys, as one order: its batch and its jobs, at their places in the request."""

from collections.abc import Collection
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, func, select

from orchestrator.base.payments import Payment
from orchestrator.receipts.receipt import Order, OrderedBatch, OrderedJob, OrderedPayment
from orchestrator.store.rowsets import IDS
from orchestrator.store.tables import accounts, batches, jobs, payments, submissions


def order_of(connection: Connection, submission_id: UUID) -> Order:
    """The order of a submission that is sent and has its jobs."""
    return orders_of(connection, [submission_id])[submission_id]


def orders_of(connection: Connection, submission_ids: Collection[UUID]) -> dict[UUID, Order]:
    """The orders of submissions that are sent and have their jobs."""
    found = connection.execute(_SUBMISSIONS, {"ids": list(submission_ids)}).all()
    lines: dict[UUID, list[OrderedJob]] = {row.submission_id: [] for row in found}
    for job in connection.execute(_JOBS, {"ids": list(submission_ids)}):
        lines[job.submission_id].append(_ordered(job))
    of_batch = {row.id: row for row in found}
    ordered = {batch_id: _ordered_batch(row) for batch_id, row in of_batch.items()}
    return {
        row.submission_id: Order(
            submission_id=row.submission_id,
            origin=row.origin,
            account=row.account,
            body_sha256=row.body_sha256,
            sent_at=row.sent_at,
            reserved=row.reserved,
            batch=ordered[row.id],
            jobs=tuple(lines[row.submission_id]),
            payment=_payment_of(connection, row.submission_id) if Payment(row.payment).is_direct else None,
        )
        for row in found
    }


def _ordered_batch(row: Any) -> OrderedBatch:
    return OrderedBatch.model_validate({name: getattr(row, name) for name in OrderedBatch.model_fields})


def _ordered(job: Any) -> OrderedJob:
    return OrderedJob(
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


def _payment_of(connection: Connection, submission_id: UUID) -> OrderedPayment | None:
    """Without its signature."""
    row = connection.execute(
        select(*(payments.c[name] for name in OrderedPayment.model_fields)).where(
            payments.c.submission_id == submission_id
        )
    ).one_or_none()
    return None if row is None else OrderedPayment.model_validate(dict(row._mapping))


_SUBMISSIONS = (
    select(
        *(batches.c[name] for name in OrderedBatch.model_fields),
        accounts.c.origin,
        accounts.c.account,
        submissions.c.id.label("submission_id"),
        submissions.c.body_sha256,
        submissions.c.sent_at,
        submissions.c.reserved,
    )
    .join(submissions, submissions.c.batch_id == batches.c.id)
    .join(accounts, accounts.c.pk == submissions.c.account_pk)
    .where(submissions.c.id == IDS)
)
_JOBS = (
    select(jobs, func.coalesce(jobs.c.price, jobs.c.estimate).label("reserved_price"))
    .where(jobs.c.submission_id == IDS)
    .order_by(jobs.c.submission_id, jobs.c.position)
)
