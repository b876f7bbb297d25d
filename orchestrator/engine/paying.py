"""The submit step where each request carries a signed payment of its own (guide, "x402 request sequence").

1. Build the exact bytes, and ask without a payment what they cost.
2. `guard` looks at the offer, and the reserve is raised to it where budget and caps allow.
3. Sign. Commit the payment together with `sent`, leave a receipt of both outside the database, and only then let them
   leave: the same bytes, with the payment.
4. An acceptance is recorded as ever, and where no byte left the payment is void. Anything else leaves the jobs in doubt
   and the payment signed: `replay` goes on.

Killed before the commit of 3, the work is pending again and nothing that was signed has left; killed after it, the same
payment is sent again, never another.
"""

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from orchestrator.base.money import ZERO, canonical
from orchestrator.base.payments import Network, from_atomic, settlement_share
from orchestrator.base.states import HoldCode, JobState, SubmissionState
from orchestrator.chain.rpc import RpcUnavailable
from orchestrator.engine import submit
from orchestrator.engine.answers import job_error
from orchestrator.engine.bodies import call_for
from orchestrator.engine.payee import creates_account, require_as_told
from orchestrator.engine.policy import Effect, filed_under, on_post
from orchestrator.engine.runtime import Engine, log
from orchestrator.engine.signing import sign_offer, without_signature
from orchestrator.engine.validity import sendable_until
from orchestrator.katana.verdict import Kind, Verdict
from orchestrator.katana.x402 import Offer, secrets_of
from orchestrator.payments import guard
from orchestrator.payments.guard import PaymentRefused
from orchestrator.payments.wallet import SignedPayment
from orchestrator.receipts.receipt import Order, OrderedPayment, Receipt
from orchestrator.store import payees, payments, quotes, sending
from orchestrator.store.accounts import lock_account, origin_and_account
from orchestrator.store.batches import lock_batch
from orchestrator.store.claims import ClaimedSubmission
from orchestrator.store.database import Connection
from orchestrator.store.holds import put_hold, says
from orchestrator.store.orders import order_of
from orchestrator.store.replaying import Posted

#: When work is due again that could not be offered, or whose chain did not answer.
_AGAIN_SECONDS = 2.0
_CHAIN_AGAIN_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Quote:
    """An offer that the guard let pass. `amount` is in USDC; `creates_account`: see Wallet.pay."""

    offer: Offer
    amount: Decimal
    pay_to: str
    creates_account: bool


async def send(engine: Engine, work: ClaimedSubmission) -> None:
    """Send one claimed submission with a payment of its own, and record what became of it."""
    body = await submit.make_ready(engine, work)
    if body is None:
        return
    await submit.look_again(engine, work)
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
    await submit.take_back(engine, work, reason, retry_in_seconds=_CHAIN_AGAIN_SECONDS)


async def _knows_recipient(engine: Engine) -> bool:
    """Whether it is settled who is paid, and known to have an account for USDC where one is needed."""
    network = _network(engine)
    pay_to = engine.pay_to or await engine.transact(_pinned, engine.scope.account_pk, network)
    if pay_to is None or network is not Network.SOLANA:
        return pay_to is not None
    assert engine.chains is not None
    return await engine.chains.has_token_account(pay_to)


async def _pay(engine: Engine, work: ClaimedSubmission, body: bytes) -> None:
    try:
        quote = await _quote(engine, work, body)
        signed = None if quote is None else await _sign(engine, work, quote)
    except PaymentRefused as error:
        await engine.transact(_refuse, work, error)
        return
    except RpcUnavailable as error:
        await _put_off(engine, work, error.reason)
        return
    if signed is not None:
        await _send_signed(engine, work, body, signed)


async def _quote(engine: Engine, work: ClaimedSubmission, body: bytes) -> Quote | None:
    """What the work costs, with enough reserved for it; None where it was dealt with. Raises PaymentRefused."""
    told = await engine.client.discover(body, call=call_for(work.items), item_count=len(work.jobs))
    if told.verdict is not None:
        await _record_unoffered(engine, work, told.verdict)
        return None
    quote = await _guarded(engine, work, guard.choose(told.offers, _network(engine)))
    is_reserved = quote.amount <= work.reserved or await engine.transact(
        quotes.raise_reserve, work.id, work.token, quote.amount
    )
    if not is_reserved:
        await submit.take_back(engine, work, "its quote passes the budget or a cap", retry_in_seconds=0)
        return None
    return quote


async def _guarded(engine: Engine, work: ClaimedSubmission, offer: Offer) -> Quote:
    """Whether everything in an offer is as it should be; its recipient is pinned. Raises PaymentRefused."""
    network = _network(engine)
    expected = engine.pay_to or await engine.transact(_pinned, engine.scope.account_pk, network)
    assert engine.chains is not None
    makes_account = await creates_account(engine.chains, network, offer)
    limit = guard.spend_limit(_planned(work), work.price_tolerance, creates_account=makes_account)
    try:
        pay_to = guard.check(offer, network, limit=limit, pay_to=expected)
    except PaymentRefused as error:
        raise _Refused(error, from_atomic(offer.amount)) from None
    if expected is None:
        await require_as_told(engine.client, network, pay_to)
        pinned = await engine.transact(_pin, engine.scope.account_pk, network, pay_to)
        guard.check(offer, network, limit=limit, pay_to=pinned)  # another may have been quicker
    return Quote(offer, from_atomic(offer.amount), pay_to, makes_account)


class _Refused(PaymentRefused):
    """A refusal, with the amount (USDC) that was asked for."""

    def __init__(self, error: PaymentRefused, amount: Decimal) -> None:
        super().__init__(error.reason, is_price=error.is_price)
        self.amount = amount


def _planned(work: ClaimedSubmission) -> Decimal:
    """The price of the work as it was planned (or approved since), in USDC, without what is set aside to settle it."""
    return max(work.reserved - len(work.jobs) * settlement_share(work.bundle, work.type), ZERO)


def _pinned(connection: Connection, account_pk: int, network: Network) -> str | None:
    origin, _ = origin_and_account(connection, account_pk)
    return payees.pinned(connection, origin, network)


def _pin(connection: Connection, account_pk: int, network: Network, address: str) -> str:
    lock_account(connection, account_pk)  # of requests that are offered at once, one pins, and says so
    origin, _ = origin_and_account(connection, account_pk)
    if (before := payees.pinned(connection, origin, network)) is not None:
        return before
    pinned = payees.pin(connection, origin, network, address)
    log.warning("payments to %s on %s go to %s from now on: it is pinned", origin, network, pinned)
    return pinned


async def _sign(engine: Engine, work: ClaimedSubmission, quote: Quote) -> SignedPayment | None:
    """Sign exactly what was quoted; None where it was dealt with. Raises PaymentRefused, RpcUnavailable."""
    assert engine.wallet is not None
    assert engine.chains is not None
    blockhash = await engine.chains.blockhash() if _network(engine) is Network.SOLANA else None
    if engine.stopping:
        await submit.take_back(engine, work, "stopped before it was sent", retry_in_seconds=0)
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
    order = await engine.transact(_mark_paid, work, hashlib.sha256(body).hexdigest(), payment, signed.header)
    if order is None:
        await submit.take_back_unwanted(engine, work)
        return
    if not await engine.keep_receipts(Receipt.sent(order)):
        await submit.return_unsent(engine, work, "its receipt could not be written")
        return
    verdict = await post(engine, work, body, signed.header, send_before)
    with submit.told_if_lost(work, verdict):
        if verdict.kind is Kind.ACCEPTED:
            await record_taken(engine, work, order, verdict)
        elif verdict.kind is Kind.NOT_SENT:
            await _take_back_unsent(engine, work, order, verdict)
        else:
            await engine.persist(_record_open, engine, work, verdict)


async def _take_back_unsent(engine: Engine, work: ClaimedSubmission, order: Order, verdict: Verdict) -> None:
    """Not a byte left, and nothing of the signature: it is void at once."""
    engine.note_outage(verdict.reason)
    if await engine.persist(_record_unsent, engine, work, verdict):
        await engine.keep_receipts(Receipt.not_charged(order))  # not before: taken for dead, another may have sent it


def _record_unsent(connection: Connection, engine: Engine, work: ClaimedSubmission, verdict: Verdict) -> bool:
    rule = on_post(verdict)
    submit.follow(connection, engine, work, verdict, rule.effect)
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


async def post(engine: Engine, work: Posted, body: bytes, header: str, send_before: datetime) -> Verdict:
    """Let the bytes leave with their payment. The verdict repeats nothing of the signature, whatever was answered."""
    call, items = call_for(work.items), len(work.jobs)
    verdict = await engine.client.submit(body, call=call, item_count=items, send_before=send_before, payment=header)
    words = f"{verdict.reason} {verdict.problem} {verdict.heard_request_id}"
    if any(secret in words for secret in secrets_of(header)):
        return replace(verdict, reason=f"HTTP {verdict.status}", problem=None, heard_request_id=None)
    return verdict


async def record_taken(engine: Engine, work: Posted, order: Order, verdict: Verdict) -> None:
    """The provider took it: its payment has settled."""
    if verdict.completion is None and verdict.answer is not None and verdict.answer.request_id is not None:
        receipt = Receipt(at=engine.clock.now(), request_id=verdict.answer.request_id, order=order)
        await engine.keep_receipts(receipt)
    await submit.record_taken(engine, work, verdict)


def _record_open(connection: Connection, engine: Engine, work: ClaimedSubmission, verdict: Verdict) -> None:
    """A signature has left: whatever was answered, it may settle."""
    submit.follow(connection, engine, work, verdict, on_post(verdict).effect)
    log.warning("submission %s: %s; its payment may settle, the same one is sent again", work.id, verdict.reason)
    submit.record_doubt(connection, work, verdict.document())


async def _record_unoffered(engine: Engine, work: ClaimedSubmission, verdict: Verdict) -> None:
    """Instead of an offer: nothing was signed, so nothing can have been charged. Raises PaymentRefused."""
    if verdict.status == _PAYMENT_REQUIRED:
        raise PaymentRefused(verdict.reason)
    if verdict.status is not None and verdict.status // 100 == _SUCCESS:
        raise PaymentRefused(f"the provider answered a call without a payment with {verdict.reason}, and no offer")
    await engine.persist(_record_refusal, engine, work, verdict)


_PAYMENT_REQUIRED = 402
_SUCCESS = 2
#: What an answer to an unpaid call does less than one to a paid one: nothing can be lost with it.
_WITHOUT_LOSS = {Effect.UNANSWERED: Effect.UNREACHED}


def _record_refusal(connection: Connection, engine: Engine, work: ClaimedSubmission, verdict: Verdict) -> None:
    """The account's row first, then the batch's, then the submission's: the order of all locks."""
    rule = on_post(verdict)
    submit.follow(connection, engine, work, verdict, _WITHOUT_LOSS.get(rule.effect, rule.effect))
    submit.hold(connection, work, verdict, rule)
    if rule.becomes is JobState.REJECTED:
        error = job_error(filed_under(verdict), verdict.reason, charged=False, provider=verdict.problem)
        end, document = SubmissionState.NOT_SENT, verdict.document()
        sending.record_rejected(connection, work.id, work.token, end=end, answer=document, error=error)
    else:
        wait = _AGAIN_SECONDS if rule.again_seconds is None else rule.again_seconds
        sending.take_back(connection, work.id, work.token, reason=verdict.reason, retry_in_seconds=wait)


def _refuse(connection: Connection, work: ClaimedSubmission, refused: PaymentRefused) -> None:
    """Nothing was signed: the jobs are pending again, and their batch waits for a person."""
    lock_batch(connection, work.batch_id)
    if not says(connection, work.batch_id, refused.reason):  # once, of however many jobs at once
        log.warning("batch %s: %s; nothing was signed", work.batch_id, refused.reason)
    sending.take_back(connection, work.id, work.token, reason=refused.reason)
    if isinstance(refused, _Refused) and refused.is_price:
        _hold_for_price(connection, work, refused)
        return
    message, command = f"{refused.reason}; nothing was signed", f"orchestrator resume {work.batch_id}"
    put_hold(connection, work.batch_id, HoldCode.PAYMENT_REFUSED, message, command)


def _hold_for_price(connection: Connection, work: ClaimedSubmission, refused: _Refused) -> None:
    planned = sum((job.estimate for job in work.jobs), ZERO)
    count, cost = quotes.reprice_unsent(connection, work.batch_id, work.model, refused.amount / planned)
    rest = f"at that price its {count} jobs of {work.model} left cost {canonical(cost)} USDC"
    message = f"{refused.reason}; {rest}; nothing was signed"
    put_hold(connection, work.batch_id, HoldCode.PRICE_CHANGED, message, f"orchestrator approve {work.batch_id}")


def _network(engine: Engine) -> Network:
    assert engine.payment.network is not None
    return engine.payment.network
