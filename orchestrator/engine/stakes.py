"""Warning in time that files may be lost, and sending nothing more meanwhile: the destination fails, or copies take
longer than their sources last.

Where several processes work a batch, one may see a trouble that the others do not. What is put on hold follows from
what a process sees *and* from what all have stored, what is lifted from the latter alone: no two of them disagree.
"""

from collections import defaultdict
from math import inf

from orchestrator.assets.errors import AssetError, SpoolFailed
from orchestrator.base.clock import rfc3339
from orchestrator.base.notices import NoticeEvent
from orchestrator.base.states import HoldCode
from orchestrator.engine.deadlines import Due, count_late, overflows
from orchestrator.engine.runtime import Engine, log
from orchestrator.store import backlog, outbox
from orchestrator.store.accounts import Scope
from orchestrator.store.backlog import Stake, Waiting
from orchestrator.store.database import Connection
from orchestrator.store.free_claims import ClaimedCopy
from orchestrator.store.holds import lift_holds, put_hold
from orchestrator.store.settling import settle_batch

#: How often the backlog is held against the rate.
_LOOK_SECONDS = 15.0
#: The rate of all processes is seen over this time.
_RATE_SECONDS = 600.0
#: How often at most a failing destination is looked at, and told of.
_FAILURE_LOOK_SECONDS = 2.0
_FAILURE_TOLD_SECONDS = 60.0
#: Files that are not stored so long before their source expires are worth a word.
_SOON_SECONDS = 6 * 3600.0
#: A destination that took files of the batch so long ago, from any process, takes them: no copy waits longer for a try.
_LATELY_SECONDS = 60.0


async def note_failing_destination(engine: Engine, work: ClaimedCopy, error: AssetError) -> None:
    """Tell what is at stake. Nothing more is sent once it has failed for long, or the spool cannot take what comes,
    and no other process stores what this one cannot.
    """
    now = engine.clock.monotonic()
    since = engine.failing.note(work.batch_id).since
    stall_after = engine.limits.stall_after_seconds
    if now - since < stall_after and now - engine.stake_looked_at.get(work.batch_id, -inf) < _FAILURE_LOOK_SECONDS:
        return
    engine.stake_looked_at[work.batch_id] = now
    stake = await engine.transact(backlog.stake_of, work.batch_id)
    message = f"{_trouble(work, error)}; {_at_stake(stake)}"
    lasts_long = min(now - since, stake.quiet_seconds) >= stall_after
    if lasts_long or (stake.quiet_seconds >= _LATELY_SECONDS and await _overflows(engine, stake)):
        command = f"orchestrator resume {work.batch_id}"
        await engine.transact(put_hold, work.batch_id, HoldCode.DESTINATION_FAILING, message, command)
    if now - engine.stake_told_at.get(work.batch_id, -inf) >= _FAILURE_TOLD_SECONDS:
        engine.stake_told_at[work.batch_id] = now
        log.warning("%s: %s", work.batch_id, message)


async def _overflows(engine: Engine, stake: Stake) -> bool:
    used = await engine.in_file_thread(engine.spool.usage_bytes)
    spooled = max(stake.finished - stake.untried, 1)
    return overflows(
        spool_bytes=used,
        cap_bytes=engine.spool.cap_bytes,
        jobs=stake.untried + stake.generating,
        bytes_per_job=engine.copy_pace.bytes_per_job or used / spooled,
    )


def _trouble(work: ClaimedCopy, error: AssetError) -> str:
    """What is to be mended: the destination, or this machine, whose spool is full or cannot be written."""
    if isinstance(error, SpoolFailed):
        return f"no file can be fetched here: {error.message}" + (f" ({error.hint})" if error.hint else "")
    return f"{work.destination} does not take the files: {error.message}"


def _at_stake(stake: Stake) -> str:
    coming = f", {stake.generating} more are being made" if stake.generating else ""
    expiry = f", the first expires at {rfc3339(stake.first_expires_at)}" if stake.first_expires_at else ""
    return f"the files of {stake.finished} finished job(s) wait{expiry}{coming}"


def lift_failing(connection: Connection, account_pk: int, batch_id: str) -> None:
    """No copy of the batch fails, or one worked: send again, if all processes together store its files in time."""
    if not backlog.has_failing_hold(connection, batch_id):
        return
    everyone = Scope(account_pk)
    waiting = backlog.untried_copies(connection, everyone)
    if waiting and batch_id in _late_jobs(waiting, _stored_per_second(connection, everyone)):
        return
    lift_holds(connection, batch_id, (HoldCode.DESTINATION_FAILING,))
    settle_batch(connection, batch_id)


def _stored_per_second(connection: Connection, scope: Scope) -> float:
    return backlog.stored_within(connection, scope, _RATE_SECONDS) / _RATE_SECONDS


async def watch_deadlines(engine: Engine) -> None:
    """Hold batches whose finished jobs cannot be stored in time at the rate that is seen, until they can."""
    now = engine.clock.monotonic()
    if now < engine.next_deadlines_at:
        return
    engine.next_deadlines_at = now + _LOOK_SECONDS
    await engine.transact(_note_expiring, engine.scope)
    account_pk = engine.scope.account_pk
    for batch_id in await engine.transact(backlog.failing_without_failures, engine.scope):
        await engine.transact(lift_failing, account_pk, batch_id)
    own = engine.copy_pace.jobs_per_second
    if own is None:
        return
    waiting = await engine.transact(backlog.untried_copies, engine.scope)
    late = _late_jobs(waiting, own)
    if late:  # perhaps not, with what other processes store
        stored = await engine.transact(_stored_per_second, Scope(account_pk))
        late = _late_jobs(waiting, max(own, stored))
    for batch_id, message in late.items():
        if not await engine.transact(backlog.has_failing_hold, batch_id):
            log.warning("%s: %s", batch_id, message)
        command = f"orchestrator status {batch_id}"
        await engine.transact(put_hold, batch_id, HoldCode.DESTINATION_FAILING, message, command)


def _note_expiring(connection: Connection, scope: Scope) -> None:
    """Tell whoever wants to know of files that may be lost, once a day of a batch."""
    for found in backlog.expiring_within(connection, scope, _SOON_SECONDS):
        facts = {"waiting": found.jobs, "first_expires_at": rfc3339(found.first_expires_at)}
        occasion = f"expiring:{found.batch_id}:{found.first_expires_at:%Y-%m-%d}"
        outbox.note(connection, found.batch_id, NoticeEvent.EXPIRING, occasion, facts)


def _late_jobs(waiting: list[Waiting], jobs_per_second: float) -> dict[str, str]:
    """The batches that wait with others for too slow copies, each with what to say of it."""
    late = count_late([Due(group.seconds_left, group.jobs) for group in waiting], jobs_per_second)
    if not late:
        return {}
    by_batch: dict[str, int] = defaultdict(int)
    for group in waiting:
        by_batch[group.batch_id] += group.jobs
    minutes = min(group.seconds_left for group in waiting) / 60
    rate = f"{jobs_per_second * 60:.1f} a minute"
    return {
        batch_id: f"{late} of {sum(by_batch.values())} finished jobs may not be stored in time: {rate} are stored, the "
        f"first sources expire in {minutes:.0f} minutes; nothing more is sent until they can be"
        for batch_id in by_batch
    }
