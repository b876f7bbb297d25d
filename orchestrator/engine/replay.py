"""Signed payments whose answer was lost: the same one is sent again while it is valid; then its chain tells.

- An acceptance of a replay is the acceptance of the request. While its batch is paused or cancelled it is not sent.
- Once it can no longer settle, and has not: it is void, and its jobs are bought anew, with another payment.
  So it is where a person has named a request of which the provider has told nothing.
- It has settled, and no answer ever named the request: its jobs stay in doubt, with the transaction as evidence.

Nothing else is signed for these jobs meanwhile, whatever is answered, and however often we are killed.
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from orchestrator.assets.errors import AssetError
from orchestrator.base.logs import LogEvent, as_event
from orchestrator.base.money import canonical
from orchestrator.base.states import HoldCode, PaymentState, SettledBy
from orchestrator.chain.rpc import RpcUnavailable
from orchestrator.chain.word import ChainState, ChainWord, Outstanding
from orchestrator.engine import answered, paying, submit
from orchestrator.engine.runtime import Engine, log
from orchestrator.engine.validity import LOOK_SECONDS, is_confirmed, noted, pause_seconds, sendable_until
from orchestrator.katana.line import PAY_DEADLINE_SECONDS
from orchestrator.katana.verdict import Kind
from orchestrator.receipts.receipt import OrderedPayment, Receipt
from orchestrator.store import doubtful, payments, replaying, resolving, settling, unproven
from orchestrator.store.batches import lock_batch
from orchestrator.store.database import Connection
from orchestrator.store.holds import put_hold
from orchestrator.store.replaying import OpenPayment

LEASE_SECONDS = PAY_DEADLINE_SECONDS + 120
#: When a payment is due again that we could not make a request for.
_OUR_FAULT_RETRY_SECONDS = 15.0
#: After so many payments that came to nothing a person is asked.
_MOST_IN_VAIN = 2


async def claim(engine: Engine, limit: int) -> Sequence[OpenPayment]:
    """Lease up to `limit` payments that are due to be sent again, or to be looked up."""
    return await engine.claim(replaying.claim_open, seconds=LEASE_SECONDS, limit=limit)


async def go_on(engine: Engine, work: OpenPayment) -> None:
    """Send one payment again, or look at its chain. Also for a batch that is paused or cancelled: it has left us, and
    only the answer to it tells which request was paid for.
    """
    until = sendable_until(work.payment, work.order.sent_at)
    if work.header is not None and engine.clock.now() < until:
        await _send_again(engine, work, work.header, until)
    elif work.header is not None and (seconds_left := _seconds_left(work, engine.clock.now())):
        await _put_back(engine, work, seconds_left)
    else:
        await _look(engine, work)


def _seconds_left(work: OpenPayment, now: datetime) -> float:
    """Until its chain may know that it cannot settle (0: now); on Solana only the chain knows the height."""
    over_at = work.payment.valid_before
    return 0.0 if over_at is None else max((over_at - now).total_seconds(), 0.0)


async def _send_again(engine: Engine, work: OpenPayment, header: str, until: datetime) -> None:
    body = await _same_body(engine, work)
    if body is None or engine.stopping:
        await _put_back(engine, work, _OUR_FAULT_RETRY_SECONDS)
        return
    send_before = min(until, engine.clock.now() + timedelta(seconds=LEASE_SECONDS - PAY_DEADLINE_SECONDS))
    verdict = await paying.post(engine, work, body, header, send_before)
    if verdict.kind is not Kind.ACCEPTED:
        log.info("submission %s: its payment was sent again: %s", work.id, verdict.reason)
        await _put_back(engine, work, pause_seconds(work.sends + 1), was_sent=True)
        return
    with answered.told_if_lost(work, verdict):
        await paying.record_taken(engine, work, work.order, verdict)
        await engine.persist(settling.settle_batch, work.batch_id)


async def _same_body(engine: Engine, work: OpenPayment) -> bytes | None:
    """The bytes that the payment was sent with; None where they cannot be made now: no others are ever sent with it."""
    try:
        body = await submit.body_of(engine, work.order.batch.media, work.items)
    except AssetError as error:
        log.warning("submission %s cannot be sent again now: %s", work.id, error.message)
        return None
    if hashlib.sha256(body).hexdigest() != work.order.body_sha256:
        log.critical("submission %s would be another request than it was: it is not sent again", work.id)
        return None
    return body


async def _look(engine: Engine, work: OpenPayment) -> None:
    """It can no longer be sent: what does its chain say?"""
    assert engine.chains is not None
    payment = work.payment
    word = await engine.chains.word(
        Outstanding(
            payment.network,
            payment.payer,
            payment.nonce,
            since=work.order.sent_at,
            valid_before=payment.valid_before,
            last_valid_height=payment.last_valid_height,
            after_slot=payment.after_slot,
        )
    )
    now, looks = engine.clock.now(), engine.chains.looks_needed(payment.network)
    if word.state is ChainState.SETTLED:
        await engine.persist(_record_settled, work, word)
    elif is_confirmed(word, work.evidence, now, looks_needed=looks):
        await engine.persist(_record_void, engine, work, word, await _usdc_of_payer(engine, payment))
    else:
        if word.state is ChainState.OPEN:
            engine.note_wait(f"{payment.network} does not tell yet what became of a payment; waiting for it")
        evidence = noted(word, work.evidence, now, stall_after_seconds=engine.limits.stall_after_seconds)
        await engine.transact(replaying.put_back, work, in_=LOOK_SECONDS, evidence=evidence)


async def _usdc_of_payer(engine: Engine, payment: OrderedPayment) -> Decimal | None:
    """What the wallet has to pay with; None where its chain does not tell."""
    assert engine.chains is not None
    try:
        return await engine.chains.usdc_of(payment.network, payment.payer)
    except RpcUnavailable:
        return None


def _record_settled(connection: Connection, work: OpenPayment, word: ChainWord) -> None:
    """It is paid for, and nobody has told which request it is: a person may find it, or time writes it off."""
    lock_batch(connection, work.batch_id)
    named = f"in transaction {word.transaction}" if word.transaction else "by its chain's word"
    reason = f"its payment has settled ({named}), but no answer named its request"
    evidence = {
        "finding": ChainState.SETTLED,
        "reason": reason,
        "transaction": word.transaction,
        "chain": word.evidence,
    }
    if payments.end(
        connection, work.id, PaymentState.SETTLED, transaction=word.transaction, evidence={"chain": word.evidence}
    ):
        log.warning("submission %s: %s", work.id, reason)
        doubtful.record_finding(connection, work.id, evidence)
    settling.settle_batch(connection, work.batch_id)


def _record_void(
    connection: Connection, engine: Engine, work: OpenPayment, word: ChainWord, usdc: Decimal | None
) -> None:
    """It can no longer settle, and has not: its jobs are bought anew, unless that would come to nothing again.

    `usdc` is what the wallet has.
    """
    lock_batch(connection, work.batch_id)
    evidence = {
        "finding": word.state,
        "reason": "its payment can no longer settle, and has not",
        "chain": word.evidence,
    }
    if resolving.settle_as_not_charged(connection, work.id, SettledBy.CHAIN, evidence) or resolving.withdraw_unpaid(
        connection, work.id, evidence
    ):
        log.warning(
            "submission %s was not charged: %s",
            work.id,
            evidence["reason"],
            extra=as_event(LogEvent.DOUBT_SETTLED, submission=work.id, finding="not-charged"),
        )
        if engine.receipts is not None:
            engine.receipts.keep(Receipt.not_charged(work.order))
        _hold_if_in_vain(connection, work, usdc)
    elif unproven.is_unproven(connection, work.id):  # the provider is just asked about the request that was named
        replaying.put_back(connection, work, in_=LOOK_SECONDS, evidence=work.evidence)
    elif payments.end(connection, work.id, PaymentState.VOID, evidence=evidence):  # a person or time said: charged
        log.warning("submission %s: %s; a person may say: not charged", work.id, evidence["reason"])
    settling.settle_batch(connection, work.batch_id)


def _hold_if_in_vain(connection: Connection, work: OpenPayment, usdc: Decimal | None) -> None:
    """Sign no more where the wallet is empty, or where payments come to nothing one after the other."""
    payment, command = work.payment, f"orchestrator resume {work.batch_id}"
    if usdc is not None and usdc < payment.amount:
        needs = f"{canonical(usdc)} USDC on {payment.network}, a payment of {canonical(payment.amount)} did not settle"
        put_hold(connection, work.batch_id, HoldCode.BALANCE_LOW, f"the wallet {payment.payer} has {needs}", command)
    elif (count := payments.count_in_vain(connection, work.id)) >= _MOST_IN_VAIN:
        said = payments.last_words(connection, work.id)
        message = f"{count} payments for the same work came to nothing; the provider answered the last with: {said}"
        put_hold(connection, work.batch_id, HoldCode.PAYMENT_REFUSED, message, command)


async def _put_back(engine: Engine, work: OpenPayment, seconds: float, *, was_sent: bool = False) -> None:
    await engine.persist(replaying.put_back, work, in_=seconds, was_sent=was_sent, evidence=work.evidence)
