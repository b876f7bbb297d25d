"""Making a batch with all its jobs, and the catalogue that priced it."""

import json
import secrets
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, exists, insert, select, text
from sqlalchemy.dialects.postgresql import insert as upsert

from orchestrator.base.money import ZERO
from orchestrator.base.states import BatchState, HoldCode, WaitsFor
from orchestrator.catalog.models import Catalog
from orchestrator.planner.result import PlannedJob
from orchestrator.store.database import NOW
from orchestrator.store.references import references
from orchestrator.store.holds import put_hold
from orchestrator.store.tables import batches, catalogs


@dataclass(frozen=True, slots=True)
class NewBatch:
    """A planned batch as it is stored.

    `submit_key`: whoever submits with it again gets this batch. `unusual`: why it sends nothing until it is approved.
    """

    id: str
    name: str
    sandbox: bool
    account_pk: int
    destination: str
    media: str
    key: str
    bundle: int
    labels: dict[str, str]
    manifest: str
    catalog: Catalog
    estimated: Decimal
    budget: Decimal | None
    usd_per_credit: Decimal
    jobs: Sequence[PlannedJob]
    price_tolerance: Decimal = ZERO
    canary: int | None = None
    stop_when_failed_over: Decimal | None = None
    submit_key: str | None = None
    unusual: str | None = None


def new_batch_id(connection: Connection, name: str) -> str:
    """An id that no batch has yet: the collection's name, today's date (UTC) and four random hex digits."""
    today = f"{connection.execute(select(NOW)).scalar_one():%Y%m%d}"
    while True:
        batch_id = f"{name}-{today}-{secrets.token_hex(2)}"
        if not connection.execute(select(exists().where(batches.c.id == batch_id))).scalar_one():
            return batch_id


def create_batch(connection: Connection, batch: NewBatch) -> None:
    """Store a batch with all its jobs, ready to be sent. Raises IntegrityError where the id is taken."""
    keep_catalog(connection, batch.catalog)
    connection.execute(
        insert(batches).values(
            id=batch.id,
            name=batch.name,
            state=BatchState.RUNNING,
            sandbox=batch.sandbox,
            account_pk=batch.account_pk,
            destination=batch.destination,
            media=batch.media,
            key=batch.key,
            bundle=batch.bundle,
            labels=batch.labels,
            manifest=batch.manifest,
            catalog_digest=batch.catalog.digest,
            estimated=batch.estimated,
            budget=batch.budget,
            usd_per_credit=batch.usd_per_credit,
            price_tolerance=batch.price_tolerance,
            canary=batch.canary,
            stop_when_failed_over=batch.stop_when_failed_over,
            submit_key=batch.submit_key,
            index_due=False,
            created_at=NOW,
        )
    )
    waits = _waits_for_canaries(batch)
    needed = {need for job in batch.jobs for need in job.needs}
    for start in range(0, len(batch.jobs), _JOBS_PER_INSERT):
        rows = [_job_row(job, waits, needed) for job in batch.jobs[start : start + _JOBS_PER_INSERT]]
        parameters = {"batch_id": batch.id, "account_pk": batch.account_pk, "jobs": json.dumps(rows)}
        connection.execute(_INSERT_JOBS, parameters)
    _store_needs(connection, batch)
    if batch.unusual is not None:
        put_hold(connection, batch.id, HoldCode.UNUSUAL_WORK, batch.unusual, f"orchestrator approve {batch.id}")


def keep_catalog(connection: Connection, catalog: Catalog) -> None:
    """Store a catalogue that priced a batch, unless it is there."""
    connection.execute(
        upsert(catalogs)
        .values(
            digest=catalog.digest,
            source=catalog.source,
            fetched_at=catalog.fetched_at,
            document=json.loads(catalog.to_json()),
        )
        .on_conflict_do_nothing()
    )


_JOBS_PER_INSERT = 5000
#: All jobs of a chunk as one JSON parameter: a row a parameter set is many times slower.
_INSERT_JOBS = text(
    """
    INSERT INTO job (batch_id, account_pk, ordinal, name, type, model, item, labels, estimate, gate, dependents_due,
                     state, waits_for, attempts, copy_failures, due_at)
    SELECT :batch_id, :account_pk, ordinal, name, type, model, item, labels, estimate, gate, dependents_due,
           CASE WHEN waits_for IS NULL THEN 'pending' ELSE 'waiting' END, waits_for, 0, 0, (SELECT orchestrator_now())
    FROM jsonb_to_recordset(CAST(:jobs AS jsonb)) AS planned
        (ordinal integer, name text, type text, model text, item jsonb, labels jsonb, estimate numeric, gate text,
         dependents_due boolean, waits_for text)
    """
)
_INSERT_NEEDS = text(
    """
    INSERT INTO job_need (job_pk, needed_pk, role)
    SELECT DISTINCT job.pk, needed.pk, need.role
    FROM jsonb_to_recordset(CAST(:needs AS jsonb)) AS need (job text, needed text, role text)
    JOIN job ON job.batch_id = :batch_id AND job.name = need.job
    JOIN job AS needed ON needed.batch_id = :batch_id AND needed.name = need.needed
    """
)


def _store_needs(connection: Connection, batch: NewBatch) -> None:
    """Which jobs need which others' results."""
    needs = [
        {"job": job.id, "needed": needed, "role": role}
        for job in batch.jobs
        if job.needs
        for needed, role in references(job.item)
    ]
    for start in range(0, len(needs), _JOBS_PER_INSERT):
        parameters = {"batch_id": batch.id, "needs": json.dumps(needs[start : start + _JOBS_PER_INSERT])}
        connection.execute(_INSERT_NEEDS, parameters)


def _waits_for_canaries(batch: NewBatch) -> set[int]:
    """The jobs (by ordinal) that wait until the first `canary` jobs of their model have been looked at."""
    if batch.canary is None:
        return set()
    seen: Counter[str] = Counter()
    waiting = set()
    for job in batch.jobs:
        seen[job.model] += 1
        if seen[job.model] > batch.canary:
            waiting.add(job.ordinal)
    return waiting


def _job_row(job: PlannedJob, waits_for_canaries: set[int], needed: set[str]) -> dict[str, Any]:
    dependency = WaitsFor.DEPENDENCY if job.needs else None
    return {
        "ordinal": job.ordinal,
        "name": job.id,
        "type": job.type,
        "model": job.model,
        "item": job.item,
        "labels": job.labels,
        "estimate": str(job.estimate),
        "gate": Gate.MANUAL if job.has_gate else None,
        "dependents_due": job.id in needed,
        "waits_for": WaitsFor.CANARY if job.ordinal in waits_for_canaries else dependency,
    }


def batch_catalog(connection: Connection, batch_id: str) -> Catalog:
    """The catalogue that priced a batch."""
    document = connection.execute(
        select(catalogs.c.document)
        .join(batches, batches.c.catalog_digest == catalogs.c.digest)
        .where(batches.c.id == batch_id)
    ).scalar_one()
    return Catalog.from_json(json.dumps(document))
