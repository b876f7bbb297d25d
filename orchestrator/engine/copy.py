"""The copy step: the files of a finished job are fetched, verified and stored before their sources expire.

What a destination does not take waits in the spool, verified, so that an expired source costs nothing.
"""

import hashlib
from collections.abc import Sequence
from math import inf
from pathlib import Path

from orchestrator.assets.errors import AssetError, DestinationFailed, SourceUnavailable, SpoolFailed
from orchestrator.assets.fetch import fetch
from orchestrator.assets.incoming import Berth, Fetched
from orchestrator.assets.memory import Share
from orchestrator.base.errors import Unusable
from orchestrator.base.states import JobError
from orchestrator.engine.answers import job_error
from orchestrator.engine.pacing import retry_seconds
from orchestrator.engine.placing import Placed, place, spool_name
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
from orchestrator.store.backlog import has_failing_hold
from orchestrator.store.database import Connection
from orchestrator.store.free_claims import ClaimedAsset, ClaimedCopy, claim_copies

LEASE_SECONDS = 2 * 3600.0
#: Files up to this size pass through memory: an upload from there is the cheapest, while in a folder a file of the
#: spool can become the object itself.
_MOST_IN_MEMORY_BYTES = {"s3": 16 * 1024**2, "folder": 1024**2}


async def claim(engine: Engine, limit: int) -> list[ClaimedCopy]:
    """Lease up to `limit` finished jobs, the nearest expiry first."""
    return await engine.claim(claim_copies, seconds=LEASE_SECONDS, limit=limit)


async def store(engine: Engine, work: ClaimedCopy) -> None:
    """Store the files of one finished job; it is completed when all its originals are stored."""
    try:
        await _store(engine, work)
    except Unusable:
        raise
    except Exception as error:  # noqa: BLE001 - a fault of ours in one job must not stop the copies of all others
        log.exception("job %s of %s: its files were not stored", work.job, work.batch_id)
        await _record_failures(engine, work, [error])


async def _store(engine: Engine, work: ClaimedCopy) -> None:
    with engine.spool.memory.share() as memory:
        placed = await _store_originals(engine, work, memory)
        unrecorded = None if placed.failures else await _store_renditions(engine, work, memory, placed)
    if placed.failures:
        await _record_failures(engine, work, placed.failures)
        placed.failures.clear()  # a circle: their tracebacks hold what was fetched, and this list
    if unrecorded is None:
        return
    await engine.together(_complete, (work, unrecorded))
    engine.failing.end(work.batch_id)
    engine.useless_tries.end(work.pk)
    _discard_spooled(engine, work)


async def _complete(engine: Engine, finished: Sequence[tuple[ClaimedCopy, Placed]]) -> Sequence[None]:
    for batch_id in await engine.transact(_record_completed, finished):
        await engine.transact(lift_failing, engine.scope.account_pk, batch_id)
    return [None] * len(finished)


def _record_completed(connection: Connection, finished: Sequence[tuple[ClaimedCopy, Placed]]) -> list[str]:
    """All that is still to be said of finished jobs. Their batches that were held since their destination failed."""
    _record_placed(connection, [placed for _, placed in finished])
    copying.record_completed(connection, {work.pk: work.token for work, _ in finished})
    batch_ids = sorted({work.batch_id for work, _ in finished})
    return [batch_id for batch_id in batch_ids if has_failing_hold(connection, batch_id)]


async def _place_together(engine: Engine, placed: Sequence[Placed]) -> Sequence[None]:
    await engine.transact(_record_placed, placed)
    return [None] * len(placed)


def _record_placed(connection: Connection, placed: Sequence[Placed]) -> None:
    copying.record_stored(connection, {pk: file for each in placed for pk, file in each.stored.items()})
    for each in placed:
        for asset_pk, sha256 in each.kept.items():
            copying.record_verified(connection, asset_pk, sha256)


def _record_partly_placed(connection: Connection, job_pk: int, placed: Placed) -> None:
    _record_placed(connection, [placed])
    if placed.stored:
        copying.let_stored_expire(connection, job_pk)


def _originals(work: ClaimedCopy) -> list[ClaimedAsset]:
    return [asset for asset in work.assets if asset.role == "original" and not asset.stored]


async def _store_originals(engine: Engine, work: ClaimedCopy, memory: Share) -> Placed:
    started_at = engine.clock.monotonic()
    placed = await _stored(engine, work, _originals(work), memory)
    if not placed.failures:
        size_bytes = sum(file.size_bytes for file in placed.stored.values())
        engine.copy_pace.note(seconds=engine.clock.monotonic() - started_at, size_bytes=size_bytes)
    return placed


async def _store_renditions(engine: Engine, work: ClaimedCopy, memory: Share, placed: Placed) -> Placed | None:
    """Thumbnails, previews and final frames are a convenience: what does not work is left out.

    What was stored before (`placed`) is recorded before the next one is fetched; returned is what is not recorded yet.
    None where another job needs one of them, and it is to be tried again.
    """
    for asset in work.assets:
        if asset.role == "original" or asset.stored:
            continue
        await engine.together(_place_together, placed)
        placed = await _stored(engine, work, [asset], memory)
        for failure in placed.failures:
            if asset.is_needed and isinstance(failure, AssetError) and await _is_put_off(engine, work, [failure]):
                return None
            log.info("job %s: its %s is left out: %s", work.job, asset.role, _reason(failure))
        placed.failures.clear()
    return placed


async def _stored(engine: Engine, work: ClaimedCopy, assets: list[ClaimedAsset], memory: Share) -> Placed:
    """Fetch all of the files before the first is stored: a destination that fails must not let sources expire.

    One that cannot be had or is not whole keeps none of the others from being stored, nor does a fault of ours: what is
    here is recorded where any has failed.
    """
    fetched: list[tuple[ClaimedAsset, Fetched]] = []
    failures: list[Exception] = []
    for asset in assets:
        try:
            fetched.append((asset, await _fetch(engine, work, asset, memory)))
        except Exception as error:  # noqa: BLE001 - a fault of ours in one file must not lose the others
            failures.append(error)
    placed = await engine.in_file_thread(place, engine, work, fetched) if fetched else Placed()
    placed.failures += failures
    failures.clear()
    if placed.failures and (placed.stored or placed.kept):
        await engine.transact(_record_partly_placed, work.pk, placed)
    _log_faults(work, placed.failures)
    return placed


def _log_faults(work: ClaimedCopy, failures: Sequence[Exception]) -> None:
    for failure in failures:
        if not isinstance(failure, AssetError):
            log.error("job %s of %s: a file was not stored", work.job, work.batch_id, exc_info=failure)


async def _fetch(engine: Engine, work: ClaimedCopy, asset: ClaimedAsset, memory: Share) -> Fetched:
    """Have the file here: from the spool, where an earlier try left it verified, or from its source."""
    if asset.content is not None:
        data = asset.content.encode()
        return Fetched(data, len(data))
    name = spool_name(work, asset)
    if asset.sha256 is not None:
        waiting = await engine.in_file_thread(_waiting, engine.spool.path(name), asset.sha256)
        if waiting is not None:
            return waiting
    if not engine.spool.is_roomy:
        await engine.in_file_thread(engine.spool.require_room)
    most_bytes = _MOST_IN_MEMORY_BYTES["s3" if work.destination.startswith("s3://") else "folder"]
    berth = Berth(engine.spool, name, memory, most_bytes, engine.in_file_thread)
    return await fetch(engine.assets, asset.source_url, berth, clock=engine.clock)


def _waiting(path: Path, sha256: str) -> Fetched | None:
    """The file of an earlier try, if it is still what it was."""
    try:
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() == sha256:
                return Fetched(path, path.stat().st_size, sha256)
    except FileNotFoundError:
        pass
    return None


def _rule(failure: Exception) -> CopyRule:
    return on_copy(failure) if isinstance(failure, AssetError) else OUR_FAULT


def _hope(failure: Exception) -> tuple[float, float]:
    """How long after its source has expired, and then how often, a copy that failed so is tried again."""
    rule = _rule(failure)
    return rule.overdue_seconds, inf if rule.tries is None else rule.tries


def _reason(failure: Exception) -> str:
    return failure.message if isinstance(failure, AssetError) else f"a fault of ours: {type(failure).__name__}"


async def _record_failures(engine: Engine, work: ClaimedCopy, failures: Sequence[Exception]) -> None:
    """Try again later, unless a source is gone for good or never was a whole file. A fault of ours may be mended by a
    restart or an update, but not once the sources are gone.

    Of several files that failed the one with the most hope left counts, so that none is given up too soon.
    """
    if not await _is_put_off(engine, work, failures):
        failure = max(failures, key=_hope)
        await _give_up(engine, work, _rule(failure).error, _reason(failure))


async def _is_put_off(engine: Engine, work: ClaimedCopy, failures: Sequence[Exception]) -> bool:
    """Put a copy that failed off for a while, as long as any source wants; False where no further try can bring it."""
    failure = max(failures, key=_hope)
    wishes = [each.retry_after_seconds or 0.0 for each in failures if isinstance(each, SourceUnavailable)]
    wished = max(wishes, default=0.0)
    if isinstance(failure, DestinationFailed | SpoolFailed):
        # First: while a job waits for it, the hold is not lifted.
        await _try_again(engine, work, _reason(failure), at_least_seconds=wished)
        await note_failing_destination(engine, work, failure)
        return True
    if await _is_hopeless(engine, work, _rule(failure)):
        return False
    await _try_again(engine, work, _reason(failure), at_least_seconds=wished)
    return True


async def _is_hopeless(engine: Engine, work: ClaimedCopy, rule: CopyRule) -> bool:
    """Whether no further try can bring the file. Tries that an outage spoiled do not count."""
    if any(asset.sha256 for asset in _originals(work)):
        rule = SPOOLED_ELSEWHERE
    if rule.tries is not None and engine.useless_tries.note(work.pk).times >= rule.tries:
        return True
    return -await engine.transact(copying.seconds_to_expiry, work.pk) >= rule.overdue_seconds


async def _try_again(engine: Engine, work: ClaimedCopy, reason: str, *, at_least_seconds: float) -> None:
    usual = retry_seconds(work.failures, first=FIRST_COPY_RETRY_SECONDS, longest=LONGEST_COPY_RETRY_SECONDS)
    wait = max(usual, at_least_seconds)
    log.info("job %s: not stored yet: %s; next try in %.1f s", work.job, reason, wait)
    await engine.transact(copying.record_copy_failure, work.pk, work.token, reason=reason, retry_in_seconds=wait)


async def _give_up(engine: Engine, work: ClaimedCopy, code: JobError, reason: str) -> None:
    document = job_error(code, reason, charged=True)
    await engine.transact(copying.record_copy_lost, work.pk, work.token, document)
    engine.useless_tries.end(work.pk)
    _discard_spooled(engine, work)


def _discard_spooled(engine: Engine, work: ClaimedCopy) -> None:
    """Also what an earlier try, broken off right after it had stored a file, left behind."""
    for asset in work.assets:
        engine.spool.discard(spool_name(work, asset))
