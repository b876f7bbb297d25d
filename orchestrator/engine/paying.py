"""The submit step where each request carries a signed payment of its own (guide, "x402 request sequence").

1. Build the exact bytes, and ask without a payment what they cost (`quoting`).
2. `guard` looks at the offer, and the reserve is raised to it where budget and caps allow (`quoting`).
3. Sign. On an open connection, commit the payment together with `sent`, leave a receipt of both outside the database,
   and only then let them leave: the same bytes, with the payment.
4. An acceptance is recorded as ever, and where no byte left the payment is void. Anything else leaves the jobs in doubt
   and the payment signed: `replay` goes on.

Killed before the commit of 3, the work is pending again and nothing that was signed has left; killed after it, the same
payment is sent again, never another.
"""

import functools
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime

from orchestrator.base.payments import Network
from orchestrator.base.states import SubmissionState
from orchestrator.chain.rpc import RpcUnavailable
from orchestrator.engine import answered, quoting, submit, unsent
from orchestrator.engine.bodies import call_for
from orchestrator.engine.policy import on_post
from orchestrator.engine.runtime import Engine, log
from orchestrator.engine.signing import sign_offer, without_signature
from orchestrator.engine.validity import sendable_until
from orchestrator.katana.verdict import Kind, Verdict
from orchestrator.katana.x402 import secrets_of
from orchestrator.payments.guard import PaymentRefused
from orchestrator.payments.wallet import SignedPayment
from orchestrator.receipts.receipt import Order, OrderedPayment, Receipt
from orchestrator.store import payments, quotes, sending
from orchestrator.store.claims import ClaimedSubmission
from orchestrator.store.database import Connection
from orchestrator.store.orders import order_of
from orchestrator.store.replaying import Posted

#: When work is due again whose chain did not answer.
_CHAIN_AGAIN_SECONDS = 15.0


async def send(engine: Engine, work: ClaimedSubmission) -> None:
    """Send one claimed submission with a payment of its own, and record what became of it."""
    body = await submit.make_ready(engine, work)
    if body is None:
        return
    await unsent.require_known(engine, work)
    try:
        if not await _knows_recipient(engine):
            async with engine.first_payment:
                if not await _knows_recipient(engine):
                    await _pay_first(engine, work, body)
                    return
    except RpcUnavailable as error:
        await _put_off(engine, work, error.reason)
        return
    await _pay(engine, work, body)


async def _pay_first(engine: Engine, work: ClaimedSubmission, body: bytes) -> None:
    """One goes first: no more is at stake with a recipient who is new, and one alone pays the rent of its account."""
    if await engine.transact(payments.any_signed, engine.scope.account_pk):
        await _put_off(engine, work, "another payment is the first to its recipient")
    else:
        await _pay(engine, work, body)


async def _put_off(engine: Engine, work: ClaimedSubmission, reason: str) -> None:
    log.warning("submission %s is not paid yet: %s", work.id, reason)
    await unsent.take_back(engine, work, reason, retry_in_seconds=_CHAIN_AGAIN_SECONDS)


async def _knows_recipient(engine: Engine) -> bool:
    """Whether it is settled who is paid, and known to have an account for USDC where one is needed."""
    pay_to = await quoting.recipient_of(engine)
    if pay_to is None or quoting.network_of(engine) is not Network.SOLANA:
        return pay_to is not None
    assert engine.chains is not None
    return await engine.chains.has_token_account(pay_to)


async def _pay(engine: Engine, work: ClaimedSubmission, body: bytes) -> None:
    try:
        quote = await quoting.quote_for(engine, work, body)
        signed = None if quote is None else await _sign(engine, work, quote)
    except PaymentRefused as error:
        await engine.transact(quoting.refuse, work, error)
        return
    except RpcUnavailable as error:
        await _put_off(engine, work, error.reason)
        return
    if signed is not None:
        await _send_signed(engine, work, body, signed)


async def _sign(engine: Engine, work: ClaimedSubmission, quote: quoting.Quote) -> SignedPayment | None:
    """Sign exactly what was quoted; None where it was dealt with. Raises PaymentRefused, RpcUnavailable."""
    assert engine.wallet is not None
    assert engine.chains is not None
    blockhash = await engine.chains.blockhash() if quoting.network_of(engine) is Network.SOLANA else None
    if engine.stopping:
        await unsent.take_back(engine, work, "stopped before it was sent", retry_in_seconds=0)
        return None
    return await sign_offer(
        engine.wallet,
        quote.offer,
        amount=quote.amount,
        pay_to=quote.pay_to,
        now=engine.clock.now(),
        blockhash=blockhash,
        creates_account=quote.creates_account,
    )


async def _send_signed(engine: Engine, work: ClaimedSubmission, body: bytes, signed: SignedPayment) -> None:
    payment = without_signature(signed)
    now = engine.clock.now()
    send_before = min(now + submit.SEND_WITHIN, sendable_until(payment, now))
    marking = functools.partial(_leave, engine, work, hashlib.sha256(body).hexdigest(), payment, signed.header)
    leaving = submit.Leaving(marking)
    posting = post(engine, work, body, signed.header, send_before, leave=leaving)
    verdict = await submit.unless_kept_back(engine, work, posting)
    if verdict is None:
        return
    with answered.told_if_lost(work, verdict):
        if leaving.order is None or verdict.kind is Kind.NOT_SENT:
            await _take_back_unsent(engine, work, leaving.order, verdict)
        elif verdict.kind is Kind.ACCEPTED:
            await record_taken(engine, work, leaving.order, verdict)
        else:
            await engine.persist(_record_open, engine, work, verdict)


async def _leave(
    engine: Engine, work: ClaimedSubmission, body_sha256: str, payment: OrderedPayment, header: str
) -> tuple[Order | None, bool]:
    """What is bought, once it and its payment are on record, and whether that has a receipt."""
    order = await engine.transact(_mark_paid, work, body_sha256, payment, header)
    return order, order is not None and await engine.keep_receipts(Receipt.sent(order))


async def _take_back_unsent(engine: Engine, work: ClaimedSubmission, order: Order | None, verdict: Verdict) -> None:
    """Not a byte left, and nothing of the signature: it is void at once."""
    if not verdict.is_late:
        engine.note_outage(verdict.reason)
    if await engine.persist(_record_unsent, engine, work, verdict) and order is not None:
        await engine.keep_receipts(Receipt.not_charged(order))  # not before: taken for dead, another may have sent it


def _record_unsent(connection: Connection, engine: Engine, work: ClaimedSubmission, verdict: Verdict) -> bool:
    rule = on_post(verdict)
    answered.follow(connection, engine, work, verdict, rule.effect)
    end, document, wait = SubmissionState.NOT_SENT, verdict.document(), rule.again_seconds or 0
    return sending.record_returned(connection, work.id, work.token, end=end, answer=document, retry_in_seconds=wait)


def _mark_paid(
    connection: Connection, work: ClaimedSubmission, body_sha256: str, payment: OrderedPayment, header: str
) -> Order | None:
    """What is bought, once it and its payment are written down; None where nothing may be sent any more."""
    departure = sending.Departure(work.id, work.token, body_sha256)
    if not sending.mark_sent(connection, [departure], lease_seconds=submit.LEASE_SECONDS):
        return None
    quotes.reserve_exactly(connection, work.id, payment.amount)
    if not payments.record_signed(connection, work.id, payment, header):
        connection.rollback()
        return None
    return order_of(connection, work.id)


async def post(
    engine: Engine,
    work: Posted,
    body: bytes,
    header: str,
    send_before: datetime,
    *,
    leave: Callable[[], Awaitable[None]] | None = None,
) -> Verdict:
    """Let the bytes leave with their payment, after `leave` (see KatanaClient.submit).

    The verdict repeats nothing of the signature, whatever was answered.
    """
    call, items = call_for(work.items), len(work.jobs)
    verdict = await engine.client.submit(
        body, call=call, item_count=items, send_before=send_before, payment=header, leave=leave
    )
    words = f"{verdict.reason} {verdict.problem} {verdict.heard_request_id}"
    if any(secret in words for secret in secrets_of(header)):
        return replace(verdict, reason=f"HTTP {verdict.status}", problem=None, heard_request_id=None)
    return verdict


async def record_taken(engine: Engine, work: Posted, order: Order, verdict: Verdict) -> None:
    """The provider took it: its payment has settled."""
    receipt = answered.receipt_of_request(engine, order, verdict)
    if receipt is not None:
        await engine.keep_receipts(receipt)
    await answered.record_taken(engine, work, verdict)


def _record_open(connection: Connection, engine: Engine, work: ClaimedSubmission, verdict: Verdict) -> None:
    """A signature has left: whatever was answered, it may settle."""
    answered.follow(connection, engine, work, verdict, on_post(verdict).effect)
    log.warning("submission %s: %s; its payment may settle, the same one is sent again", work.id, verdict.reason)
    answered.record_doubt(connection, work, verdict.document())
