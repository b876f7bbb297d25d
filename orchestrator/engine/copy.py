"""The copy step: the files of a finished job are fetched, verified and stored before their sources expire.

Verified files wait in the spool while the destination fails, so that an expired source costs nothing.
"""

import asyncio
import hashlib
import time
from pathlib import Path

from orchestrator.assets.destination import Destination
from orchestrator.assets.errors import (
    AddressRefused,
    AssetError,
    CorruptAsset,
    DestinationFailed,
    SourceGone,
    SpoolFailed,
)
from orchestrator.assets.fetch import fetch
from orchestrator.assets.keys import KeyFields, render_key, rendition_key
from orchestrator.assets.verify import Kind, Verified, verify
from orchestrator.base import faults
from orchestrator.base.states import HoldCode, JobError
from orchestrator.engine.answers import job_error
from orchestrator.engine.pacing import retry_seconds
from orchestrator.engine.runtime import Engine, log
from orchestrator.store import copying
from orchestrator.store.claims import ClaimedAsset, ClaimedCopy, claim_copies
from orchestrator.store.copying import StoredFile
from orchestrator.store.holds import lift_holds, put_hold

LEASE_SECONDS = 2 * 3600.0
#: A file that is still not whole, or leads where we never connect to, after this many tries always will be.
MAX_USELESS_TRIES = 6
#: A source that only stumbles (no network, 5xx) is asked for this long after its expiry: clocks and zones may be off.
EXPIRY_GRACE_SECONDS = 3600.0


async def claim(engine: Engine, limit: int) -> list[ClaimedCopy]:
    """Lease up to `limit` finished jobs, the nearest expiry first."""
    owner = await engine.owner()
    return await engine.transact(claim_copies, engine.scope, owner=owner, lease_seconds=LEASE_SECONDS, limit=limit)


async def store(engine: Engine, work: ClaimedCopy) -> None:
    """Store the files of one finished job; it is completed when all its originals are stored."""
    try:
        destination = await asyncio.to_thread(engine.destination, work.destination)
        for asset in _originals(work):
            await _store_asset(engine, work, asset, destination)
    except AssetError as error:
        await _record_failure(engine, work, error)
        return
    await _store_renditions(engine, work, destination)
    _discard_spooled(engine, work)
    await engine.transact(copying.record_completed, work.pk, work.token)
    faults.point("copy.completed")
    if engine.failing_since.pop(work.batch_id, None) is not None or work.failures:
        await engine.transact(lift_holds, work.batch_id, (HoldCode.DESTINATION_FAILING,))


def _originals(work: ClaimedCopy) -> list[ClaimedAsset]:
    return [asset for asset in work.assets if asset.role == "original" and not asset.stored]


async def _store_renditions(engine: Engine, work: ClaimedCopy, destination: Destination) -> None:
    """Thumbnails, previews and final frames are a convenience: what does not work is left out."""
    for asset in work.assets:
        if asset.role == "original" or asset.stored:
            continue
        try:
            await _store_asset(engine, work, asset, destination)
        except AssetError as error:
            log.info("job %s: its %s is left out: %s", work.job, asset.role, error.message)


async def _store_asset(engine: Engine, work: ClaimedCopy, asset: ClaimedAsset, destination: Destination) -> None:
    """Fetch (unless a verified copy waits in the spool), verify, upload, and only then write it down."""
    name = str(asset.pk)
    spooled = engine.spool.path(name)
    sha256 = asset.sha256
    if sha256 is None or await asyncio.to_thread(_hash, spooled) != sha256:
        await asyncio.to_thread(engine.spool.require_room)
        sha256 = (await fetch(engine.assets, asset.source_url, spooled)).sha256
    faults.point("copy.fetched")
    try:
        verified = await asyncio.to_thread(verify, spooled, _kind(asset), asset.declared_mime)
    except CorruptAsset:
        engine.spool.discard(name)
        raise
    key, metadata = _key(work, asset, sha256, verified), _metadata(work)
    try:
        uri = await asyncio.to_thread(
            destination.put, key, spooled, sha256=sha256, content_type=verified.mime_type, metadata=metadata
        )
    except DestinationFailed:
        await engine.transact(copying.record_verified, asset.pk, sha256)
        raise
    faults.point("copy.uploaded")
    await engine.transact(copying.record_stored, asset.pk, _stored(key, uri, sha256, spooled, verified))
    faults.point("copy.stored")
    engine.spool.discard(name)


def _kind(asset: ClaimedAsset) -> Kind:
    return "video" if asset.kind == "video" else "image"


def _hash(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None


def _key(work: ClaimedCopy, asset: ClaimedAsset, sha256: str, verified: Verified) -> str:
    fields = KeyFields(
        name=work.collection,
        batch=work.batch_id,
        job=work.job,
        index=asset.position,
        date=f"{work.created_at:%Y-%m-%d}",
        sha256=sha256,
        ext=verified.ext,
        labels=work.labels,
    )
    return render_key(work.key, fields) if asset.role == "original" else rendition_key(fields, asset.role)


def _metadata(work: ClaimedCopy) -> dict[str, str]:
    ours = {"collection": work.collection, "job": work.job, "model": work.model}
    return ours | {f"label-{name}": value for name, value in work.labels.items()}


def _stored(key: str, uri: str, sha256: str, path: Path, verified: Verified) -> StoredFile:
    return StoredFile(
        key=key,
        uri=uri,
        sha256=sha256,
        size_bytes=path.stat().st_size,
        mime_type=verified.mime_type,
        width=verified.width,
        height=verified.height,
        duration_seconds=verified.duration_seconds,
    )


async def _record_failure(engine: Engine, work: ClaimedCopy, error: AssetError) -> None:
    """Try again later, unless the source is gone for good or never was a whole file."""
    is_useless = isinstance(error, CorruptAsset | AddressRefused)
    engine.useless_tries[work.pk] += is_useless
    if isinstance(error, DestinationFailed | SpoolFailed):
        await _note_failing_destination(engine, work, error)
    elif is_useless and engine.useless_tries[work.pk] >= MAX_USELESS_TRIES:
        await _give_up(engine, work, JobError.ASSET_CORRUPT, error)
        return
    elif work.seconds_to_expiry <= (0 if isinstance(error, SourceGone) else -EXPIRY_GRACE_SECONDS):
        await _give_up(engine, work, JobError.ASSET_EXPIRED, error)
        return
    wait = retry_seconds(work.failures)
    log.info("job %s: not stored yet: %s; next try in %.1f s", work.job, error.message, wait)
    await engine.transact(copying.record_copy_failure, work.pk, work.token, reason=error.message, retry_in_seconds=wait)


async def _give_up(engine: Engine, work: ClaimedCopy, code: JobError, error: AssetError) -> None:
    document = job_error(code, error.message, charged=True)
    await engine.transact(copying.record_copy_lost, work.pk, work.token, document)
    _discard_spooled(engine, work)


def _discard_spooled(engine: Engine, work: ClaimedCopy) -> None:
    """Also what an earlier try, broken off right after it had stored a file, left behind."""
    for asset in work.assets:
        engine.spool.discard(str(asset.pk))


async def _note_failing_destination(engine: Engine, work: ClaimedCopy, error: AssetError) -> None:
    """A destination that has failed for long puts the batch on hold; what is verified stays in the spool."""
    since = engine.failing_since.setdefault(work.batch_id, time.monotonic())
    if time.monotonic() - since >= engine.limits.stall_after_seconds:
        message = f"{work.destination} does not take the files: {error.message}"
        await engine.transact(
            put_hold,
            work.batch_id,
            HoldCode.DESTINATION_FAILING,
            message,
            f"orchestrator resume {work.batch_id}",
        )
