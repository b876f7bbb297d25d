"""The settle step: put back what dead workers held, bring batches' states into line, write the index of ended ones."""

import asyncio

from orchestrator.assets.errors import AssetError
from orchestrator.assets.index import IndexRow, index_documents
from orchestrator.assets.keys import index_key
from orchestrator.base import faults
from orchestrator.engine.runtime import Engine, log
from orchestrator.store import batches, reads
from orchestrator.store.database import Connection
from orchestrator.store.leases import rescue


async def rescue_dead(engine: Engine) -> None:
    """Put back the leases of workers that are gone."""
    await engine.owner()
    found = await engine.transact(rescue)
    if found.in_doubt or found.not_sent:
        log.warning("a worker died: %s in doubt, %s not sent", found.in_doubt, found.not_sent)


async def settle(engine: Engine) -> None:
    """Bring every batch in scope into line, and write the indexes that are due."""
    for batch_id in await engine.transact(batches.unsettled_batches, engine.scope):
        await engine.transact(batches.settle_batch, batch_id)
    for batch_id in await engine.transact(batches.batches_to_index, engine.scope):
        await _write_index(engine, batch_id)


async def _write_index(engine: Engine, batch_id: str) -> None:
    """Rewrite `index.json` and `index.csv` of the batch's collection."""
    collection, destination_uri = await engine.transact(reads.batch_for_index, batch_id)
    rows = await engine.transact(_index_rows, batch_id)
    json_bytes, csv_bytes = index_documents(collection, rows)
    try:
        put = (await asyncio.to_thread(engine.destination, destination_uri)).put_bytes
        await asyncio.to_thread(put, index_key(collection, "index.json"), json_bytes, "application/json")
        await asyncio.to_thread(put, index_key(collection, "index.csv"), csv_bytes, "text/csv; charset=utf-8")
    except AssetError as error:
        log.warning("the index of %s cannot be written yet: %s", batch_id, error.message)
        return
    faults.point("settle.indexed")
    await engine.transact(batches.record_indexed, batch_id)


def _index_rows(connection: Connection, batch_id: str) -> list[IndexRow]:
    return [
        IndexRow(
            job=row.job,
            index=row.position,
            type=row.type,
            model=row.model,
            prompt=row.prompt,
            uri=row.uri,
            key=row.key,
            sha256=row.sha256,
            bytes=row.bytes,
            mime_type=row.mime_type,
            width=row.width,
            height=row.height,
            duration_seconds=row.duration_seconds,
            credits=row.spent,
            request_id=row.request_id,
            completed_at=row.ended_at,
            labels=row.labels,
            tags=row.tags,
        )
        for row in reads.stored_assets(connection, batch_id)
    ]
