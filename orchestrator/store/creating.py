"""Making a batch with all its jobs, and the catalogue that priced it."""

import json
import secrets
from typing import Any

import psycopg
from sqlalchemy import BigInteger, Connection, any_, exists, func, insert, literal, select, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.exc import DBAPIError

from orchestrator.base.states import BatchState, HoldCode
from orchestrator.catalog.models import Catalog
from orchestrator.store.database import NOW
from orchestrator.store.holds import put_hold
from orchestrator.store.new_batch import JobRow, NewBatch, job_rows
from orchestrator.store.references import references
from orchestrator.store.tables import batches, catalogs, jobs

__all__ = ["NewBatch", "batch_catalog", "create_batch", "keep_catalog", "new_batch_id"]


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
    _store_jobs(connection, batch)
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


_NEEDS_PER_INSERT = 5000
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


_COPY_JOBS = f"COPY job ({', '.join(map(json.dumps, JobRow._fields))}) FROM STDIN"


def _store_jobs(connection: Connection, batch: NewBatch) -> None:
    """By COPY: a parameter for each value would take several times as long."""
    now = connection.execute(select(NOW)).scalar_one()
    rows = job_rows(batch, _origins(connection, batch), now)
    try:
        with _cursor(connection).copy(_COPY_JOBS) as copy:
            for row in rows:
                copy.write_row(row)
    except psycopg.Error as error:  # as of any other statement
        raise DBAPIError.instance(_COPY_JOBS, None, error, psycopg.Error) from error


def _cursor(connection: Connection) -> Any:
    """psycopg's own, for COPY, in the transaction of `connection`."""
    return connection.connection.cursor()


def _origins(connection: Connection, batch: NewBatch) -> dict[int, int]:
    """Of each earlier job (by row) that is reused, the one that was sent: it, or the one that it was reused from."""
    reused = any_(literal(list(batch.reused.values()), ARRAY(BigInteger())))
    found = select(jobs.c.pk, func.coalesce(jobs.c.reused_from_pk, jobs.c.pk)).where(jobs.c.pk == reused)
    return dict(map(tuple, connection.execute(found))) if batch.reused else {}


def _store_needs(connection: Connection, batch: NewBatch) -> None:
    """Which jobs need which others' results."""
    needs = [
        {"job": job.id, "needed": needed, "role": role}
        for job in batch.jobs
        if job.needs
        for needed, role in references(job.item)
    ]
    for start in range(0, len(needs), _NEEDS_PER_INSERT):
        parameters = {"batch_id": batch.id, "needs": json.dumps(needs[start : start + _NEEDS_PER_INSERT])}
        connection.execute(_INSERT_NEEDS, parameters)


def batch_catalog(connection: Connection, batch_id: str) -> Catalog:
    """The catalogue that priced a batch."""
    document = connection.execute(
        select(catalogs.c.document)
        .join(batches, batches.c.catalog_digest == catalogs.c.digest)
        .where(batches.c.id == batch_id)
    ).scalar_one()
    return Catalog.from_json(json.dumps(document))
