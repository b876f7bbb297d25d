"""The settle step: put back what dead workers held, bring batches' states into line, write the index of ended ones."""

import asyncio

from orchestrator.assets.destination import Destination
from orchestrator.assets.errors import AssetError
from orchestrator.assets.index import IndexRow, index_documents, is_of_sandbox
from orchestrator.assets.keys import index_key
from orchestrator.base.logs import LogEvent, as_event
from orchestrator.base.payments import Unit
from orchestrator.engine.runtime import Engine, log
from orchestrator.engine.stakes import watch_deadlines
from orchestrator.store import chains, indexing, settling
from orchestrator.store.batches import lock_batch
from orchestrator.store.database import Connection
from orchestrator.store.gates import note_gates
from orchestrator.store.indexing import Collection, Stamp
from orchestrator.store.leases import Rescued, rescue


async def rescue_dead(engine: Engine) -> None:
    """Put back the leases of workers that are gone."""
    await engine.owner()
    await engine.compare_receipts()  # first: an answer that was heard is no doubt
    found = await engine.transact(_rescue)
    if found.in_doubt or found.not_sent:
        log.warning(
            "a worker died: %s in doubt, %s not sent",
            found.in_doubt,
            found.not_sent,
            extra=as_event(LogEvent.WORKER_DIED, in_doubt=found.in_doubt, not_sent=found.not_sent),
        )
    if found.in_doubt:
        await engine.compare_receipts()  # a refusal that was heard settles a doubt


def _rescue(connection: Connection) -> Rescued:
    found = rescue(connection)
    for batch_id in sorted(found.doubtful_batches):  # in one order: others may rescue at the same time
        settling.note_doubt(connection, batch_id)  # at once: too much of it stops the sending
    return found


async def settle(engine: Engine) -> bool:
    """Bring every batch in scope into line, hold those whose files may be lost, and write the indexes that are due.

    True where that gave jobs something to go on with.
    """
    await watch_deadlines(engine)
    has_moved = await _pass_on_ends(engine)
    for batch_id in await engine.transact(settling.unsettled_batches, engine.scope):
        await engine.transact(settling.settle_batch, batch_id)
    for batch_id in await engine.transact(settling.batches_to_index, engine.scope):
        await _write_index(engine, batch_id)
    return has_moved


async def _pass_on_ends(engine: Engine) -> bool:
    """Tell the jobs that need others what became of these; whether there was anything to tell."""
    found = await engine.transact(chains.batches_to_move, engine.scope)
    for batch_id in found:
        while await engine.transact(_pass_on_some, batch_id):
            continue
    return bool(found)


def _pass_on_some(connection: Connection, batch_id: str) -> int:
    lock_batch(connection, batch_id)
    told = chains.pass_on_ends(connection, batch_id)
    note_gates(connection, batch_id)
    return told


async def _write_index(engine: Engine, batch_id: str) -> None:
    """Rewrite the index of the batch's collection, and again where its batches moved on, or somebody reviewed, while
    that was written.

    Else, of two batches that end at the same time, the one that read first and wrote last would drop the other; and
    what was rejected meanwhile would stay in it.
    """
    collection = await engine.transact(indexing.collection_of, batch_id)
    is_current = False
    while not is_current:
        stamp = await engine.transact(indexing.collection_stamp, collection)
        rows = await engine.transact(_index_rows, collection)
        try:
            await asyncio.to_thread(_put_index, engine, collection, rows)
        except AssetError as error:
            log.warning("the index of %s cannot be written yet: %s", batch_id, error.message)
            return
        is_current = await engine.transact(_record_indexed, batch_id, collection, stamp)


def _put_index(engine: Engine, collection: Collection, rows: list[IndexRow]) -> None:
    destination = engine.destination(collection.destination)
    stem = _index_stem(destination, collection)
    json_bytes, csv_bytes = index_documents(collection.name, rows, sandbox=collection.sandbox)
    destination.put_bytes(index_key(collection.name, f"{stem}.json"), json_bytes, "application/json")
    destination.put_bytes(index_key(collection.name, f"{stem}.csv"), csv_bytes, "text/csv; charset=utf-8")


def _index_stem(destination: Destination, collection: Collection) -> str:
    """The index's file name; a sandbox batch never replaces an index of assets that were paid for."""
    if not collection.sandbox:
        return "index"
    found = destination.read(index_key(collection.name, "index.json"))
    return "index" if found is None or is_of_sandbox(found) else "index.sandbox"


def _record_indexed(connection: Connection, batch_id: str, collection: Collection, stamp: Stamp) -> bool:
    settling.record_indexed(connection, batch_id)  # first: it waits for whoever settles or reviews it just now
    is_current = indexing.collection_stamp(connection, collection) == stamp
    if not is_current:
        connection.rollback()
    return is_current


def _index_rows(connection: Connection, collection: Collection) -> list[IndexRow]:
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
            credits=row.spent if row.unit == Unit.CREDITS else None,
            usdc=row.spent if row.unit == Unit.USDC else None,
            request_id=row.request_id,
            completed_at=row.ended_at,
            labels=row.labels,
            tags=row.tags,
            row=row.columns or {},
        )
        for row in indexing.collection_assets(connection, collection)
    ]
