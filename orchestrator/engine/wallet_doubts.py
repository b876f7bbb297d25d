"""Settling a wallet's money in doubt by the list of its transactions, before its balance is asked what it shows.

A charge that fits is believed once its request is polled and turns out to be of the very items that are in doubt: then
the answer that was lost has come late. That there is no charge is believed where two looks say so, while nothing of
ours is under way, the whole list adds up to the balance, and each charge in it is explained.

The readings of the balance, which decide where the list cannot, must not speak against it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from orchestrator.base.clock import rfc3339
from orchestrator.base.logs import LogEvent, as_event
from orchestrator.base.money import canonical
from orchestrator.base.states import SettledBy
from orchestrator.engine.evidence import GAP_SECONDS, Finding, Judgement
from orchestrator.engine.free_answers import free_answer
from orchestrator.engine.runtime import Engine, log
from orchestrator.engine.wallet_evidence import (
    contradicts,
    echoes,
    is_whole,
    late_acceptances,
    strangers,
    uncharged,
    unexplained,
)
from orchestrator.katana.line import ProviderUnavailable
from orchestrator.katana.wallet_wire import WalletTransaction
from orchestrator.receipts.receipt import Receipt
from orchestrator.store import doubtful, doubts, readings, resolving, sending, settling, wallet_doubts
from orchestrator.store.accounts import lock_account
from orchestrator.store.database import Connection
from orchestrator.store.doubts import Doubt, Situation, ripe_at
from orchestrator.store.orders import order_of

_READING_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class _Told:
    """What was asked at the provider: the list, and the balance where nothing was under way since `quiet_since`."""

    transactions: Sequence[WalletTransaction]
    balance: Decimal | None
    quiet_since: datetime | None


async def look(engine: Engine) -> float | None:
    """Settle what the list of transactions proves. The seconds until the next look decides more (0: something was
    settled just now); None: none will.
    """
    account_pk = engine.scope.account_pk
    if not engine.payment.is_wallet or not await engine.transact(wallet_doubts.any_in_doubt, account_pk):
        engine.uncharged_since.clear()
        engine.transactions = None
        return None
    now = engine.clock.monotonic()
    if now < engine.next_transactions_at:
        return engine.next_transactions_at - now if engine.uncharged_since else None
    engine.next_transactions_at = now + GAP_SECONDS
    told = await _ask(engine)
    engine.transactions = None if told is None else told.transactions
    if told is None:
        return None
    for doubt, request_id in await engine.transact(_fitting, account_pk, told):
        if await _is_of(engine, doubt, request_id) and await _accept(engine, doubt, request_id, told):
            return 0.0
    if told.balance is None or not is_whole(told.transactions, told.balance):
        engine.uncharged_since.clear()
        return None
    settled = await engine.transact(_settle_uncharged, engine, told)
    for batch_id in sorted({doubt.batch_id for doubt in settled}):
        await engine.transact(settling.settle_batch, batch_id)
    if settled:
        return 0.0
    return GAP_SECONDS if engine.uncharged_since else None


def heeding_the_list(connection: Connection, engine: Engine, known: Situation, judgement: Judgement) -> Judgement:
    """What the readings of the balance say, as far as the list of transactions lets it stand.

    What counts as charged is lost for good: the list has to be readable, and to name no request that may be it. Nor is
    anything uncharged while the list has a charge that may be it.
    """
    if not engine.payment.is_wallet or judgement.finding not in (Finding.CHARGED, Finding.NOT_CHARGED):
        return judgement
    is_charged = judgement.finding is Finding.CHARGED
    if engine.transactions is None:
        return Judgement(Finding.WAIT, "the wallet's transactions cannot be read") if is_charged else judgement
    unknown = _strangers(connection, engine.transactions)
    if is_charged and late_acceptances(known.doubts, unknown):
        return Judgement(Finding.WAIT, "the wallet's transactions name a request that may be it")
    if not is_charged and contradicts(known.doubts, unknown):
        return Judgement(Finding.OPEN, "the wallet's transactions name a charge that may be it")
    return judgement


async def _ask(engine: Engine) -> _Told | None:
    assert engine.wallet is not None
    account_pk, quiet_since = engine.scope.account_pk, None
    if await engine.transact(_is_any_ripe, account_pk):
        quiet_since = await engine.transact(readings.begin, account_pk)
    try:
        listing = engine.client.transactions(engine.wallet.address)
        transactions = await free_answer(engine, listing, seconds=_READING_SECONDS)
        has = None
        if quiet_since is not None:
            has = await free_answer(engine, engine.client.balance(), seconds=_READING_SECONDS)
    except (ProviderUnavailable, TimeoutError) as error:
        log.info("the wallet's transactions cannot be read now: %s", error)
        return None
    return _Told(transactions, has, quiet_since)


def _is_any_ripe(connection: Connection, account_pk: int) -> bool:
    known = doubts.situation(connection, account_pk)
    return known is not None and any(known.now >= ripe_at(doubt.sent_at) for doubt in known.doubts)


def _fitting(connection: Connection, account_pk: int, told: _Told) -> list[tuple[Doubt, str]]:
    """The doubts and requests that fit each other. Whose answer is still on its way is no stranger's."""
    known = doubts.situation(connection, account_pk)
    if known is None or wallet_doubts.is_posting(connection, account_pk):
        return []
    return late_acceptances(known.doubts, _strangers(connection, told.transactions))


def _strangers(connection: Connection, told: Sequence[WalletTransaction]) -> list[WalletTransaction]:
    ids = {entry.request_id for entry in told if entry.request_id is not None}
    return strangers(told, wallet_doubts.known_requests(connection, ids))


async def _is_of(engine: Engine, doubt: Doubt, request_id: str) -> bool:
    """Whether the request is of the items that are in doubt; what cannot be polled says nothing."""
    order = await engine.transact(order_of, doubt.submission_id)
    try:
        polled = await free_answer(engine, engine.client.poll(request_id), seconds=_READING_SECONDS)
    except (ProviderUnavailable, TimeoutError) as error:
        log.info("request %s, which may be of submission %s, is not told: %s", request_id, doubt.submission_id, error)
        return False
    return echoes(polled.answer, [job.item for job in sorted(order.jobs, key=lambda job: job.position)])


async def _accept(engine: Engine, doubt: Doubt, request_id: str, told: _Told) -> bool:
    order = await engine.transact(order_of, doubt.submission_id)
    await engine.keep_receipts(Receipt(at=engine.clock.now(), request_id=request_id, order=order))
    if not await engine.transact(_record_accepted, engine.scope.account_pk, doubt, request_id, told):
        return False
    log.warning(
        "submission %s is request %s: the wallet's transactions name it",
        doubt.submission_id,
        request_id,
        extra=as_event(
            LogEvent.DOUBT_SETTLED, submission=doubt.submission_id, finding="accepted", request_id=request_id
        ),
    )
    await engine.transact(settling.settle_batch, doubt.batch_id)
    engine.next_transactions_at = 0.0  # the next one may be alone in question now
    return True


def _record_accepted(connection: Connection, account_pk: int, doubt: Doubt, request_id: str, told: _Told) -> bool:
    """Once more under the account's lock: nothing else may fit meanwhile."""
    lock_account(connection, account_pk)
    if (doubt.submission_id, request_id) not in [
        (other.submission_id, fitting) for other, fitting in _fitting(connection, account_pk, told)
    ]:
        return False
    doubtful.record_evidence(connection, doubt.submission_id, _evidence(doubt, "accepted", request=request_id))
    acceptance = sending.Acceptance(
        doubt.submission_id,
        request_id=request_id,
        provider_status=None,
        answer={"verdict": "accepted", "reason": "the wallet's transactions name its request"},
        poll_in_seconds=0,
    )
    return bool(sending.record_accepted(connection, [acceptance]))


def _settle_uncharged(connection: Connection, engine: Engine, told: _Told) -> list[Doubt]:
    """Note what this look calls uncharged, and settle what an earlier one did, too."""
    account_pk = engine.scope.account_pk
    assert told.balance is not None
    is_quiet = readings.keep(connection, account_pk, told.balance, told.quiet_since)
    known = doubts.situation(connection, account_pk)
    if not is_quiet or known is None or told.quiet_since is None:
        engine.uncharged_since.clear()
        return []
    proven = wallet_doubts.proven_charges(connection, account_pk)
    unknown = unexplained(_strangers(connection, told.transactions), proven)
    found = uncharged(known.doubts, unknown, told.quiet_since)
    seen: dict[UUID, datetime] = {doubt.submission_id: told.quiet_since for doubt in found}
    engine.uncharged_since = seen | {key: at for key, at in engine.uncharged_since.items() if key in seen}
    gap = timedelta(seconds=GAP_SECONDS)
    sure = [doubt for doubt in found if told.quiet_since - engine.uncharged_since[doubt.submission_id] >= gap]
    return [doubt for doubt in sure if _settle(connection, engine, doubt, told)]


def _settle(connection: Connection, engine: Engine, doubt: Doubt, told: _Told) -> bool:
    assert told.balance is not None
    evidence = _evidence(
        doubt,
        "not-charged",
        balance=canonical(told.balance),
        transactions=len(told.transactions),
        looks=[rfc3339(at) for at in (engine.uncharged_since[doubt.submission_id], told.quiet_since) if at is not None],
    )
    if engine.receipts is not None:
        engine.receipts.keep(Receipt.not_charged(order_of(connection, doubt.submission_id)))
    log.warning(
        "submission %s was not charged: %s",
        doubt.submission_id,
        evidence["reason"],
        extra=as_event(
            LogEvent.DOUBT_SETTLED, submission=doubt.submission_id, finding="not-charged", evidence=evidence
        ),
    )
    return resolving.settle_as_not_charged(connection, doubt.submission_id, SettledBy.TRANSACTIONS, evidence)


def _evidence(doubt: Doubt, finding: str, **more: Any) -> dict[str, Any]:
    reason = "the wallet's transactions name its request" if finding == "accepted" else "no transaction is for it"
    told = {"finding": finding, "by": SettledBy.TRANSACTIONS, "reason": reason, "before": doubt.evidence}
    return told | {"in_doubt": canonical(doubt.credits), "sent_at": rfc3339(doubt.sent_at)} | more
