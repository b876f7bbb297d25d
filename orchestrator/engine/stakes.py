"""Warning in time that files may be lost, and sending nothing more meanwhile: the destination fails, or copies take
longer than their sources last.
"""

from collections import defaultdict
from math import inf

from orchestrator.assets.errors import AssetError
from orchestrator.base.states import HoldCode
from orchestrator.engine.deadlines import Due, count_late, overflows
from orchestrator.engine.runtime import Engine, log
from orchestrator.store import backlog
from orchestrator.store.backlog import Stake, Waiting
from orchestrator.store.database import Connection
from orchestrator.store.free_claims import ClaimedCopy
from orchestrator.store.holds import lift_holds, put_hold
from orchestrator.store.reads import rfc3339
from orchestrator.store.settling import settle_batch

#: How often the backlog is held against the rate.
_LOOK_SECONDS = 15.0
#: The rate that other processes add is seen over this time.
_RATE_SECONDS = 600.0
#: How often at most a failing destination is looked at, and told of.
_FAILURE_LOOK_SECONDS = 2.0
_FAILURE_TOLD_SECONDS = 60.0


async def note_failing_destination(engine: Engine, work: ClaimedCopy, error: AssetError) -> None:
    """Tell what is at stake. Nothing more is sent once it has failed for long, or the spool cannot take what comes."""
    now = engine.clock.monotonic()
    since = engine.failing_since.setdefault(work.batch_id, now)
    lasts_long = now - since >= engine.limits.stall_after_seconds
    if not lasts_long and now - engine.stake_looked_at.get(work.batch_id, -inf) < _FAILURE_LOOK_SECONDS:
        return
    engine.stake_looked_at[work.batch_id] = now
    stake = await engine.transact(backlog.stake_of, work.batch_id)
    message = f"{work.destination} does not take the files: {error.message}; {_at_stake(stake)}"
    if lasts_long or await _overflows(engine, stake):
        command = f"orchestrator resume {work.batch_id}"
        await engine.transact(put_hold, work.batch_id, HoldCode.DESTINATION_FAILING, message, command, blocking=True)
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


def _at_stake(stake: Stake) -> str:
    coming = f", {stake.generating} more are being made" if stake.generating else ""
    expiry = f", the first expires at {rfc3339(stake.first_expires_at)}" if stake.first_expires_at else ""
    return f"the files of {stake.finished} finished job(s) wait{expiry}{coming}"


def lift_failing(connection: Connection, batch_id: str) -> None:
    """A copy of the batch worked: its destination takes files again."""
    if lift_holds(connection, batch_id, (HoldCode.DESTINATION_FAILING,)):
        settle_batch(connection, batch_id)


async def watch_deadlines(engine: Engine) -> None:
    """Hold batches whose finished jobs cannot be stored in time at the rate that is seen, until they can."""
    now = engine.clock.monotonic()
    if now < engine.next_deadlines_at:
        return
    engine.next_deadlines_at = now + _LOOK_SECONDS
    own = engine.copy_pace.jobs_per_second
    if own is None:
        return
    waiting = await engine.transact(backlog.untried_copies, engine.scope)
    late = _late_jobs(waiting, own)
    if late:  # perhaps not, with what other processes store
        stored = await engine.transact(backlog.stored_within, engine.scope, _RATE_SECONDS)
        late = _late_jobs(waiting, max(own, stored / _RATE_SECONDS))
    for batch_id in engine.late_batches - late.keys():
        engine.late_batches.discard(batch_id)
        await engine.transact(lift_failing, batch_id)
    for batch_id, message in late.items():
        if batch_id not in engine.late_batches:
            log.warning("%s: %s", batch_id, message)
        engine.late_batches.add(batch_id)
        command = f"orchestrator status {batch_id}"
        await engine.transact(put_hold, batch_id, HoldCode.DESTINATION_FAILING, message, command, blocking=True)


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
