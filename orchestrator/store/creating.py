"""Making a batch with all its jobs, and the catalogue that priced it."""

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, exists, insert, select, text
from sqlalchemy.dialects.postgresql import insert as upsert

from orchestrator.base.payments import Payment, Unit
from orchestrator.base.states import BatchState, Gate, HoldCode, JobError, JobState, WaitsFor
from orchestrator.catalog.models import Catalog
from orchestrator.planner.result import PlannedJob, RejectedJob
from orchestrator.planner.usdc import amount_of
from orchestrator.store.canaries import choose_canaries
from orchestrator.store.database import NOW
from orchestrator.store.holds import put_hold
from orchestrator.store.references import references
from orchestrator.store.tables import batches, catalogs


@dataclass(frozen=True, slots=True)
class NewBatch:
    """A planned batch as it is stored; `estimated` is the price of what it buys, in the unit of `payment` like its
    `budget`, and `work_credits` what the catalogue asks for that in credits, where USDC pays.

    `submit_key`: whoever submits with it again gets this batch. `unusual`: why it sends nothing until it is approved.
    By ordinal, `reused` are the earlier jobs (by row) whose results jobs have, `gates` the answers that these were
    given before, and `left_out` the errors of those that are skipped from the start. `moved` are the new URIs of
    earlier assets (by row) in this batch's destination.
    `partial`: the rest of the collection stays as it is.
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
    price_tolerance: Decimal | None = None
    canary: int | None = None
    stop_when_failed_over: Decimal | None = None
    submit_key: str | None = None
    unusual: str | None = None
    reused: Mapping[int, int] = field(default_factory=dict)
    gates: Mapping[int, Gate] = field(default_factory=dict)
    left_out: Mapping[int, dict[str, Any]] = field(default_factory=dict)
    moved: Mapping[int, str] = field(default_factory=dict)
    rejected: Sequence[RejectedJob] = ()
    partial: bool = False
    notify: Sequence[dict[str, Any]] = ()
    payment: Payment = Payment.CREDITS
    work_credits: Decimal | None = None

    def is_sent(self, job: PlannedJob) -> bool:
        """Whether a job is there to be bought."""
        return job.ordinal not in self.reused and job.ordinal not in self.left_out


def new_batch_id(connection: Connection, name: str) -> str:
    """An id that no batch has yet: the collection's name, today's date (UTC) and four random hex digits."""
    today = f"{connection.execute(select(NOW)).scalar_one():%Y%m%d}"
    while True:
        batch_id = f"{name}-{today}-{secrets.token_hex(2)}"
        if not connection.execute(select(exists().where(batches.c.id == batch_id))).scalar_one():
            return batch_id


def create_batch(connection: Connection, batch: NewBatch) -> None:
    """Store a batch with all its jobs, ready to be sent; reused ones with their files. Raises IntegrityError where the
    id is taken.
    """
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
            notify=list(batch.notify),
            partial=batch.partial,
            payment=batch.payment,
            work_credits=batch.work_credits,
            index_due=False,
            created_at=NOW,
        )
    )
    waits = _waits_for_canaries(batch)
    needed = {need for job in batch.jobs for need in job.needs}
    for start in range(0, len(batch.jobs), _JOBS_PER_INSERT):
        rows = [_job_row(job, batch, waits, needed) for job in batch.jobs[start : start + _JOBS_PER_INSERT]]
        _insert_jobs(connection, batch, rows)
    _insert_jobs(connection, batch, [_rejected_row(job, needed) for job in batch.rejected])
    _store_needs(connection, batch)
    if batch.reused:
        parameters = {"reused": json.dumps(dict(batch.reused)), "moved": json.dumps(dict(batch.moved))}
        connection.execute(_COPY_ASSETS, {"batch_id": batch.id} | parameters)
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
    INSERT INTO job (batch_id, account_pk, ordinal, name, type, model, item, labels, estimate, work_credits,
                     fingerprint, "row", gate, dependents_due, state, waits_for, error, attempts, copy_failures, due_at,
                     reused_from_pk, spent, ended_at)
    SELECT :batch_id, :account_pk, planned.ordinal, planned.name, planned.type, planned.model, planned.item,
           planned.labels, planned.estimate, planned.work_credits, planned.fingerprint, nullif(planned.row, 'null'),
           planned.gate, planned.dependents_due, planned.state, planned.waits_for, nullif(planned.error, 'null'),
           0, 0, clock.now,
           coalesce(past.reused_from_pk, past.pk), CASE WHEN planned.reused IS NOT NULL THEN 0 END,
           CASE WHEN planned.state IN ('completed', 'skipped', 'rejected') THEN clock.now END
    FROM jsonb_to_recordset(CAST(:jobs AS jsonb)) AS planned
        (ordinal integer, name text, type text, model text, item jsonb, labels jsonb, estimate numeric,
         work_credits numeric, fingerprint text, "row" jsonb, gate text, dependents_due boolean, state text,
         waits_for text, error jsonb, reused bigint)
    CROSS JOIN (SELECT orchestrator_now() AS now) AS clock
    LEFT JOIN job AS past ON past.pk = planned.reused
    """
)
#: A reused job has its files as rows of its own, so that nobody has to know where they came from.
_COPY_ASSETS = text(
    """
    WITH source AS (
        SELECT job.pk AS job_pk, asset.pk AS asset_pk
        FROM jsonb_each_text(CAST(:reused AS jsonb)) AS pair (ordinal, past_pk)
        JOIN job ON job.batch_id = :batch_id AND job.ordinal = CAST(pair.ordinal AS integer)
        JOIN asset ON asset.job_pk = CAST(pair.past_pk AS bigint) AND asset.stored_at IS NOT NULL
    ), moved AS (
        SELECT CAST(pair.asset_pk AS bigint) AS asset_pk, uri
        FROM jsonb_each_text(CAST(:moved AS jsonb)) AS pair (asset_pk, uri)
    )
    INSERT INTO asset (job_pk, position, role, kind, source_url, source_expires_at, declared_mime, tags, key, uri,
                       sha256, bytes, mime_type, width, height, duration_seconds, stored_at)
    SELECT source.job_pk, position, role, kind, source_url, source_expires_at, declared_mime, tags, key,
           coalesce(moved.uri, asset.uri), sha256, bytes, mime_type, width, height, duration_seconds, stored_at
    FROM source JOIN asset ON asset.pk = source.asset_pk
    LEFT JOIN moved ON moved.asset_pk = source.asset_pk
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


def _insert_jobs(connection: Connection, batch: NewBatch, rows: Sequence[dict[str, Any]]) -> None:
    parameters = {"batch_id": batch.id, "account_pk": batch.account_pk, "jobs": json.dumps(rows)}
    connection.execute(_INSERT_JOBS, parameters)


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
    """The jobs (by ordinal) that wait until the canaries among the bought ones have been looked at."""
    if batch.canary is None:
        return set()
    sent = list(filter(batch.is_sent, batch.jobs))
    never = {job.id for job in batch.jobs if job.ordinal in batch.left_out} | {job.id for job in batch.rejected}
    return {job.ordinal for job in sent} - choose_canaries(sent, batch.canary, never)


def _job_row(job: PlannedJob, batch: NewBatch, waits_for_canaries: set[int], needed: set[str]) -> dict[str, Any]:
    return {
        "ordinal": job.ordinal,
        "name": job.id,
        "type": job.type,
        "model": job.model,
        "item": job.item,
        "labels": job.labels,
        "estimate": str(amount_of(job, batch.payment, batch.bundle, batch.catalog)),
        "work_credits": None if batch.payment.unit is Unit.CREDITS else str(job.estimate),
        "fingerprint": job.fingerprint,
        "row": job.row,
        "gate": batch.gates.get(job.ordinal, Gate.MANUAL) if job.has_gate else None,
        "dependents_due": job.id in needed,
        "reused": batch.reused.get(job.ordinal),
        "error": batch.left_out.get(job.ordinal),
        **_start(job, batch, waits_for_canaries),
    }


def _start(job: PlannedJob, batch: NewBatch, waits_for_canaries: set[int]) -> dict[str, Any]:
    """The state that a job begins in."""
    if job.ordinal in batch.reused:
        return {"state": JobState.COMPLETED}
    if job.ordinal in batch.left_out:
        return {"state": JobState.SKIPPED}
    if job.ordinal in waits_for_canaries:
        return {"state": JobState.WAITING, "waits_for": WaitsFor.CANARY}
    if job.needs:
        return {"state": JobState.WAITING, "waits_for": WaitsFor.DEPENDENCY}
    return {"state": JobState.PENDING}


def _rejected_row(job: RejectedJob, needed: set[str]) -> dict[str, Any]:
    """A job that its own row spoilt: nothing of it can be sent."""
    message = f"{job.error.code}: {job.error.message}"
    error = {"code": JobError.REJECTED_INPUT, "message": message, "charged": False, "provider": None}
    return {
        "ordinal": job.ordinal,
        "name": job.id,
        "type": job.type or "",
        "model": job.model or "",
        "item": {},
        "labels": job.labels,
        "estimate": "0",
        "row": job.row,
        "dependents_due": job.id in needed,
        "state": JobState.REJECTED,
        "error": error,
    }


def batch_catalog(connection: Connection, batch_id: str) -> Catalog:
    """The catalogue that priced a batch."""
    document = connection.execute(
        select(catalogs.c.document)
        .join(batches, batches.c.catalog_digest == catalogs.c.digest)
        .where(batches.c.id == batch_id)
    ).scalar_one()
    return Catalog.from_json(json.dumps(document))
