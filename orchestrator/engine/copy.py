"""The copy step: the files of a finished job are fetched, verified and stored before their sources expire.

Verified files wait in the spool while the destination fails, so that an expired source costs nothing.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from orchestrator.assets.errors import (
    AssetError,
    CorruptAsset,
    DestinationFailed,
    SourceUnavailable,
    SpoolFailed,
)
from orchestrator.assets.fetch import fetch
from orchestrator.assets.keys import KeyFields, render_key, rendition_key
from orchestrator.assets.verify import Kind, Verified, text_file, verify
from orchestrator.base.states import JobError
from orchestrator.engine.answers import job_error
from orchestrator.engine.pacing import retry_seconds
from orchestrator.engine.policy import (
    FIRST_COPY_RETRY_SECONDS,
    LONGEST_COPY_RETRY_SECONDS,
    OUR_FAULT,
    SPOOLED_ELSEWHERE,
    CopyRule,
    on_copy,
)
from orchestrator.engine.runtime import Engine, log
from orchestrator.engine.stakes import lift_failing, note_failing_destination
from orchestrator.store import copying
from orchestrator.store.copying import StoredFile
from orchestrator.store.database import Connection
from orchestrator.store.free_claims import ClaimedAsset, ClaimedCopy, claim_copies
from orchestrator.store.leases import Lease

LEASE_SECONDS = 2 * 3600.0
#: As long as a source's own wish ("Retry-After") is heeded.
MAX_WISHED_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class _Ready:
    """A file that is here and whole."""

    asset: ClaimedAsset
    path: Path
    sha256: str
    verified: Verified


async def claim(engine: Engine, limit: int) -> list[ClaimedCopy]:
    """Lease up to `limit` finished jobs, the nearest expiry first."""
    owner = await engine.owner()
    return await engine.transact(claim_copies, engine.scope, lease=Lease.new(owner, LEASE_SECONDS), limit=limit)


async def store(engine: Engine, work: ClaimedCopy) -> None:
    """Store the files of one finished job; it is completed when all its originals are stored.

    All of them are fetched before the first is stored: a destination that fails must not let sources expire.
    """
    started_at = engine.clock.monotonic()
    try:
        ready = [await _fetch(engine, work, asset) for asset in _originals(work)]
        size_bytes = sum(file.path.stat().st_size for file in ready)
        for file in ready:
            await _put(engine, work, file)
    except AssetError as error:
        await _record_failure(engine, work, error)
        return
    except Exception as error:  # noqa: BLE001 - a fault of ours in one job must not stop the copies of all others
        log.exception("job %s of %s: its files were not stored", work.job, work.batch_id)
        await _record_fault(engine, work, f"a fault of ours: {type(error).__name__}")
        return
    if not await _store_renditions(engine, work):
        return
    engine.copy_pace.note(seconds=engine.clock.monotonic() - started_at, size_bytes=size_bytes)
    _discard_spooled(engine, work)
    await engine.transact(_record_completed, engine, work)
    engine.failing_since.pop(work.batch_id, None)


def _record_completed(connection: Connection, engine: Engine, work: ClaimedCopy) -> None:
    copying.record_completed(connection, work.pk, work.token)
    lift_failing(connection, engine.scope.account_pk, work.batch_id)


def _originals(work: ClaimedCopy) -> list[ClaimedAsset]:
    return [asset for asset in work.assets if asset.role == "original" and not asset.stored]


async def _store_renditions(engine: Engine, work: ClaimedCopy) -> bool:
    """Thumbnails, previews and final frames are a convenience: what does not work is left out.

    False where another job needs one of them, and it is to be tried again.
    """
    for asset in work.assets:
        if asset.role == "original" or asset.stored:
            continue
        try:
            await _put(engine, work, await _fetch(engine, work, asset))
        except AssetError as error:
            if asset.is_needed and await _is_put_off(engine, work, error):
                return False
            log.info("job %s: its %s is left out: %s", work.job, asset.role, error.message)
        except Exception:  # noqa: BLE001 - nor may a fault of ours in one keep the originals from being completed
            log.exception("job %s of %s: its %s is left out", work.job, work.batch_id, asset.role)
    return True


def _spool_name(work: ClaimedCopy, asset: ClaimedAsset) -> str:
    """Unique beyond one database: several may share a home."""
    return f"{work.batch_id}-{asset.pk}"


async def _fetch(engine: Engine, work: ClaimedCopy, asset: ClaimedAsset) -> _Ready:
    """Have the file here and whole: from the spool, where an earlier try left it verified, or from its source."""
    name = _spool_name(work, asset)
    spooled = engine.spool.path(name)
    if asset.content is not None:
        return await engine.in_file_thread(_written, engine, asset, asset.content, spooled)
    sha256 = asset.sha256
    if sha256 is None or await engine.in_file_thread(_hash, spooled) != sha256:
        await engine.in_file_thread(engine.spool.require_room)
        sha256 = (await fetch(engine.assets, asset.source_url, spooled, clock=engine.clock)).sha256
    try:
        verified = await engine.in_file_thread(verify, spooled, _kind(asset), asset.declared_mime)
    except CorruptAsset:
        engine.spool.discard(name)
        raise
    return _Ready(asset, spooled, sha256, verified)


def _written(engine: Engine, asset: ClaimedAsset, content: str, spooled: Path) -> _Ready:
    """A text as a file; what an earlier try wrote is written anew."""
    data = content.encode()
    try:
        engine.spool.require_room(len(data))
        spooled.write_bytes(data)
    except OSError as error:
        raise SpoolFailed(f"the spool does not take a text: {error.strerror}") from None
    return _Ready(asset, spooled, hashlib.sha256(data).hexdigest(), text_file(asset.declared_mime))


async def _put(engine: Engine, work: ClaimedCopy, file: _Ready) -> None:
    """Upload a whole file, and only then write it down."""
    key, content_type = _key(work, file.asset, file.sha256, file.verified), file.verified.mime_type
    try:
        destination = await engine.in_file_thread(engine.destination, work.destination)
        uri = await engine.in_file_thread(
            destination.put, key, file.path, sha256=file.sha256, content_type=content_type, metadata=_metadata(work)
        )
    except DestinationFailed:
        await engine.transact(copying.record_verified, file.asset.pk, file.sha256)
        raise
    stored = _stored(key, uri, file.sha256, file.path, file.verified)
    await engine.transact(copying.record_stored, file.asset.pk, stored)


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
    if not await _is_put_off(engine, work, error):
        await _give_up(engine, work, on_copy(error).error, error.message)


async def _is_put_off(engine: Engine, work: ClaimedCopy, error: AssetError) -> bool:
    """Put a copy that failed off for a while; False where no further try can bring the file."""
    if isinstance(error, DestinationFailed | SpoolFailed):
        await _try_again(engine, work, error.message)  # first: while a job waits for it, the hold is not lifted
        await note_failing_destination(engine, work, error)
        return True
    if _is_hopeless(engine, work, on_copy(error)):
        return False
    wished = error.retry_after_seconds if isinstance(error, SourceUnavailable) else None
    await _try_again(engine, work, error.message, at_least_seconds=min(wished or 0, MAX_WISHED_SECONDS))
    return True


def _is_hopeless(engine: Engine, work: ClaimedCopy, rule: CopyRule) -> bool:
    """Whether no further try can bring the file. Tries that an outage spoiled do not count."""
    if any(asset.sha256 for asset in _originals(work)):
        rule = SPOOLED_ELSEWHERE
    engine.useless_tries[work.pk] += rule.tries is not None
    too_often = rule.tries is not None and engine.useless_tries[work.pk] >= rule.tries
    return too_often or -work.seconds_to_expiry >= rule.overdue_seconds


async def _try_again(engine: Engine, work: ClaimedCopy, reason: str, *, at_least_seconds: float = 0) -> None:
    usual = retry_seconds(work.failures, first=FIRST_COPY_RETRY_SECONDS, longest=LONGEST_COPY_RETRY_SECONDS)
    wait = max(usual, at_least_seconds)
    log.info("job %s: not stored yet: %s; next try in %.1f s", work.job, reason, wait)
    await engine.transact(copying.record_copy_failure, work.pk, work.token, reason=reason, retry_in_seconds=wait)


async def _record_fault(engine: Engine, work: ClaimedCopy, reason: str) -> None:
    """A fault of ours may be mended by a restart or an update, but not once the sources are gone."""
    if -work.seconds_to_expiry >= OUR_FAULT.overdue_seconds:
        await _give_up(engine, work, OUR_FAULT.error, reason)
    else:
        await _try_again(engine, work, reason)


async def _give_up(engine: Engine, work: ClaimedCopy, code: JobError, reason: str) -> None:
    document = job_error(code, reason, charged=True)
    await engine.transact(copying.record_copy_lost, work.pk, work.token, document)
    _discard_spooled(engine, work)


def _discard_spooled(engine: Engine, work: ClaimedCopy) -> None:
    """Also what an earlier try, broken off right after it had stored a file, left behind."""
    for asset in work.assets:
        engine.spool.discard(_spool_name(work, asset))
