"""Settling money in doubt by what the account's balance shows, and writing it off when nothing can be told any more.

A claim after a quiet time is preceded by a reading, the baseline. Once something is in doubt, is old enough and all
else is at rest, two more readings are taken, and `evidence.judge` says what the three mean together.
"""

from dataclasses import dataclass
from datetime import datetime

from orchestrator.base.logs import LogEvent, as_event
from orchestrator.base.money import in_words
from orchestrator.base.states import SettledBy
from orchestrator.engine import top_up, wallet_doubts
from orchestrator.engine.evidence import Finding, Judgement, document, judge
from orchestrator.engine.free_answers import free_answer
from orchestrator.engine.runtime import Engine, log
from orchestrator.katana.line import ProviderUnavailable
from orchestrator.receipts.receipt import Receipt
from orchestrator.store import doubts, readings, resolving, settling
from orchestrator.store.accounts import lock_account
from orchestrator.store.database import Connection
from orchestrator.store.doubts import Situation
from orchestrator.store.orders import order_of
from orchestrator.store.units import account_unit

#: Nothing can be fetched any more that was sent so long ago (guide, "Service URLs and Account Setup").
WRITE_OFF_SECONDS = 72 * 3600.0
_READING_SECONDS = 15.0
#: A shorter time without anything of ours at the provider is none that a reading is worth taking in.
_QUIET_SECONDS = 0.25
_LOOK_SECONDS = 5.0
_IDLE_LOOK_SECONDS = 60.0
#: After so many readings in a row that did not work, nobody waits for the next one.
_PATIENT_FAILURES = 3


@dataclass(frozen=True, slots=True)
class _Look:
    """What a look at the money in doubt found, by the database's clock, and the batches that it changed."""

    judgement: Judgement
    now: datetime
    batch_ids: frozenset[str] = frozenset()

    @property
    def seconds_to_next(self) -> float | None:
        at = self.judgement.look_at
        return None if at is None else max((at - self.now).total_seconds(), 0.0)


async def take_baseline(engine: Engine) -> None:
    """Read the balance where the next claim would be the first after a quiet time. A failure is no obstacle."""
    now = engine.clock.monotonic()
    if engine.payment.is_direct or engine.stopping or now < engine.next_baseline_at:
        return
    engine.next_baseline_at = now + _QUIET_SECONDS
    if await engine.transact(readings.wants_baseline, engine.scope) and not await _read_balance(engine):
        engine.next_baseline_at = now + _IDLE_LOOK_SECONDS


async def reconcile(engine: Engine) -> None:
    """Look at the account's money in doubt, when it is time to: take a reading, settle what is proven or too old.

    That is for those who have its keys.
    """
    if not engine.has_keys or engine.clock.monotonic() < engine.next_evidence_at:
        return
    engine.next_evidence_at = engine.clock.monotonic() + _IDLE_LOOK_SECONDS  # who comes meanwhile leaves it to us
    engine.is_gathering_evidence = False
    seconds = _LOOK_SECONDS
    await top_up.go_on_with_open(engine)
    decided_in = await wallet_doubts.look(engine)
    # A direct payment leaves no trace in a balance: its chain tells (`replay`).
    look = None if engine.payment.is_direct else await engine.transact(_look, engine)
    if look is not None:
        seconds = await _follow(engine, look)
        for batch_id in sorted(look.batch_ids):
            await engine.transact(settling.settle_batch, batch_id)
    if decided_in is not None:
        seconds, engine.is_gathering_evidence = min(seconds, decided_in), True
    if not engine.is_gathering_evidence:
        for batch_id in sorted(await engine.transact(_write_off, engine.scope.account_pk)):
            await engine.transact(settling.settle_batch, batch_id)
    engine.next_evidence_at = engine.clock.monotonic() + seconds


async def is_gathering(engine: Engine) -> bool:
    """Whether money in doubt will be settled within the minute, so that a driver with nothing else to do waits."""
    if not engine.is_gathering_evidence:
        engine.next_evidence_at = engine.next_transactions_at = 0.0
        await reconcile(engine)
    return engine.is_gathering_evidence


async def _follow(engine: Engine, look: _Look) -> float:
    """Take the reading that is wanted, if it is time to; the seconds until the next look."""
    judgement = look.judgement
    if judgement.finding is not Finding.READ:
        engine.failed_readings = 0
        return min(look.seconds_to_next or _LOOK_SECONDS, _IDLE_LOOK_SECONDS)
    seconds = look.seconds_to_next or 0.0
    if not seconds:
        engine.failed_readings = 0 if await _read_balance(engine) else engine.failed_readings + 1
        if engine.failed_readings:
            seconds = min(_LOOK_SECONDS * 2.0**engine.failed_readings, _IDLE_LOOK_SECONDS)
    engine.is_gathering_evidence = engine.failed_readings < _PATIENT_FAILURES
    return seconds


async def _read_balance(engine: Engine) -> bool:
    """Ask for the balance and store it. False: it could not be read."""
    quiet_since = await engine.transact(readings.begin, engine.scope.account_pk)
    if quiet_since is None:
        return True
    try:
        told = await free_answer(engine, engine.client.balance(), seconds=_READING_SECONDS)
    except (ProviderUnavailable, TimeoutError) as error:
        log.info("the balance cannot be read now: %s", error)
        return False
    await engine.transact(readings.keep, engine.scope.account_pk, told, quiet_since)
    return True


def _look(connection: Connection, engine: Engine) -> _Look | None:
    """Judge what is in doubt, and act on it in the same transaction. None: there is nothing to judge."""
    account_pk = engine.scope.account_pk
    if not doubts.any_unjudged(connection, account_pk):
        return None
    lock_account(connection, account_pk)
    known = doubts.situation(connection, account_pk)
    if known is None:
        return None
    judgement = wallet_doubts.heeding_the_list(connection, engine, known, judge(known))
    changed: frozenset[str] = frozenset()
    if judgement.finding in (Finding.CHARGED, Finding.NOT_CHARGED):
        changed = _settle(connection, engine, known, judgement)
    elif judgement.finding is Finding.OPEN:
        changed = _leave_open(connection, known, judgement)
    return _Look(judgement, known.now, changed)


def _settle(connection: Connection, engine: Engine, known: Situation, judgement: Judgement) -> frozenset[str]:
    evidence = document(known, judgement)
    is_charged = judgement.finding is Finding.CHARGED
    settle = resolving.settle_as_charged if is_charged else resolving.settle_as_not_charged
    for doubt in known.doubts:
        settle(connection, doubt.submission_id, SettledBy.BALANCE, evidence)
        if engine.receipts is not None and not is_charged:
            engine.receipts.keep(Receipt.not_charged(order_of(connection, doubt.submission_id)))
        log.warning(
            "submission %s was %s: %s",
            doubt.submission_id,
            judgement.finding,
            judgement.reason,
            extra=as_event(
                LogEvent.DOUBT_SETTLED,
                submission=doubt.submission_id,
                finding=judgement.finding,
                evidence=evidence,
            ),
        )
    return _batches(known)


def _leave_open(connection: Connection, known: Situation, judgement: Judgement) -> frozenset[str]:
    evidence = document(known, judgement)
    log.warning(
        "money stays in doubt, the balance cannot tell: %s",
        judgement.reason,
        extra=as_event(LogEvent.NOTE, evidence=evidence),
    )
    doubts.record_judgement(connection, known, evidence)
    return _batches(known)


def _batches(known: Situation) -> frozenset[str]:
    return frozenset(doubt.batch_id for doubt in known.doubts)


def _write_off(connection: Connection, account_pk: int) -> frozenset[str]:
    """Count as charged what nothing more will be known of; the batches it was in."""
    changed = set()
    overdue = doubts.overdue(connection, account_pk, seconds=WRITE_OFF_SECONDS)
    if overdue:
        lock_account(connection, account_pk)  # else a price that rises just now would be booked and not counted
    for doubt in overdue:
        evidence = {"finding": SettledBy.WRITE_OFF, "reason": "in doubt for 72 h", "before": doubt.evidence}
        if resolving.settle_as_charged(connection, doubt.submission_id, SettledBy.WRITE_OFF, evidence):
            changed.add(doubt.batch_id)
            log.critical(
                "batch %s: submission %s was in doubt for 72 h; its %s are counted as charged and lost",
                doubt.batch_id,
                doubt.submission_id,
                in_words(doubt.credits, account_unit(connection, account_pk)),
            )
    return frozenset(changed)
