"""What a batch was made of, to be written down as a manifest or beside its results."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, select

from orchestrator.base.payments import Payment
from orchestrator.store.tables import batches, job_needs, jobs


@dataclass(frozen=True, slots=True)
class ExportedBatch:
    """A batch as its manifest said it. `budget` is what holds now, in the unit of `payment`."""

    id: str
    name: str
    destination: str
    media: str
    key: str
    bundle: int
    payment: Payment
    budget: Decimal | None


@dataclass(frozen=True, slots=True)
class ExportedJob:
    """One job as it was stored; `needs` are the names of the jobs that it is made from."""

    name: str
    type: str
    model: str
    state: str
    item: Mapping[str, Any]
    labels: Mapping[str, str]
    fingerprint: str | None
    has_gate: bool
    row: Mapping[str, Any] | None
    needs: Sequence[str] = field(default_factory=list)


def exported_batch(connection: Connection, batch_id: str) -> ExportedBatch:
    """What is common to all jobs of a batch."""
    row = connection.execute(select(batches).where(batches.c.id == batch_id)).one()
    return ExportedBatch(
        id=row.id,
        name=row.name,
        destination=row.destination,
        media=row.media,
        key=row.key,
        bundle=row.bundle,
        payment=Payment(row.payment),
        budget=row.budget,
    )


def exported_jobs(connection: Connection, batch_id: str) -> list[ExportedJob]:
    """All jobs of a batch in the manifest's order."""
    needed = jobs.alias("needed")
    pairs = connection.execute(
        select(job_needs.c.job_pk, needed.c.name)
        .distinct()
        .join(needed, needed.c.pk == job_needs.c.needed_pk)
        .where(needed.c.batch_id == batch_id)
    )
    needs: dict[int, list[str]] = {}
    for pair in pairs:
        needs.setdefault(pair.job_pk, []).append(pair.name)
    rows = connection.execute(select(jobs).where(jobs.c.batch_id == batch_id).order_by(jobs.c.ordinal))
    return [
        ExportedJob(
            name=row.name,
            type=row.type,
            model=row.model,
            state=row.state,
            item=row.item,
            labels=row.labels,
            fingerprint=row.fingerprint,
            has_gate=row.gate is not None,
            row=row.row,
            needs=needs.get(row.pk, []),
        )
        for row in rows
    ]
