"""What a request costs that is to carry a payment of its own: it is asked for, looked at and reserved before a
signature is made.
"""

from dataclasses import dataclass
from decimal import Decimal

from orchestrator.base.money import ZERO, canonical
from orchestrator.base.payments import Network, from_atomic, settlement_share
from orchestrator.base.states import HoldCode, JobState, SubmissionState
from orchestrator.engine import answered, unsent
from orchestrator.engine.answers import job_error
from orchestrator.engine.bodies import call_for
from orchestrator.engine.payee import creates_account, require_as_told
from orchestrator.engine.policy import Effect, filed_under, on_post
from orchestrator.engine.runtime import Engine, log
from orchestrator.katana.verdict import Verdict
from orchestrator.katana.x402 import Offer
from orchestrator.payments import guard
from orchestrator.payments.guard import PaymentRefused
from orchestrator.store import payees, quotes, sending
from orchestrator.store.accounts import lock_account, origin_and_account
from orchestrator.store.batches import lock_batch
from orchestrator.store.claims import ClaimedSubmission
from orchestrator.store.database import Connection
from orchestrator.store.holds import put_hold, says

#: When work is due again that could not be offered.
_AGAIN_SECONDS = 2.0
_PAYMENT_REQUIRED = 402
_SUCCESS = 2
#: What an answer to an unpaid call does less than one to a paid one: nothing can be lost with it.
_WITHOUT_LOSS = {Effect.UNANSWERED: Effect.UNREACHED}


@dataclass(frozen=True, slots=True)
class Quote:
    """An offer that the guard let pass. `amount` is in USDC; `creates_account`: see Wallet.pay."""

    offer: Offer
    amount: Decimal
    pay_to: str
    creates_account: bool


def network_of(engine: Engine) -> Network:
    """Where the payments of an account go that pays for each request."""
    assert engine.payment.network is not None
    return engine.payment.network


async def recipient_of(engine: Engine) -> str | None:
    """Whom the account's payments go to: who is configured, or else who is pinned; None before the first."""
    return engine.pay_to or await engine.transact(_pinned, engine.scope.account_pk, network_of(engine))


async def quote_for(engine: Engine, work: ClaimedSubmission, body: bytes) -> Quote | None:
    """What the work costs, with enough reserved for it; None where it was dealt with. Raises PaymentRefused."""
    told = await engine.client.discover(body, call=call_for(work.items), item_count=len(work.jobs))
    if told.verdict is not None:
        await _record_unoffered(engine, work, told.verdict)
        return None
    quote = await _guarded(engine, work, guard.choose(told.offers, network_of(engine)))
    is_reserved = quote.amount <= work.reserved or await engine.transact(
        quotes.raise_reserve, work.id, work.token, quote.amount
    )
    if not is_reserved:
        await unsent.take_back(engine, work, "its quote passes the budget or a cap", retry_in_seconds=0)
        return None
    return quote


async def _guarded(engine: Engine, work: ClaimedSubmission, offer: Offer) -> Quote:
    """Whether everything in an offer is as it should be; its recipient is pinned. Raises PaymentRefused."""
    network = network_of(engine)
    expected = await recipient_of(engine)
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


async def _record_unoffered(engine: Engine, work: ClaimedSubmission, verdict: Verdict) -> None:
    """Instead of an offer: nothing was signed, so nothing can have been charged. Raises PaymentRefused."""
    if verdict.status == _PAYMENT_REQUIRED:
        raise PaymentRefused(verdict.reason)
    if verdict.status is not None and verdict.status // 100 == _SUCCESS:
        raise PaymentRefused(f"the provider answered a call without a payment with {verdict.reason}, and no offer")
    await engine.persist(_record_refusal, engine, work, verdict)


def _record_refusal(connection: Connection, engine: Engine, work: ClaimedSubmission, verdict: Verdict) -> None:
    """The account's row first, then the batch's, then the submission's: the order of all locks."""
    rule = on_post(verdict)
    answered.follow(connection, engine, work, verdict, _WITHOUT_LOSS.get(rule.effect, rule.effect))
    answered.hold(connection, work, verdict, rule)
    if rule.becomes is JobState.REJECTED:
        error = job_error(filed_under(verdict), verdict.reason, charged=False, provider=verdict.problem)
        end, document = SubmissionState.NOT_SENT, verdict.document()
        sending.record_rejected(connection, work.id, work.token, end=end, answer=document, error=error)
    else:
        wait = _AGAIN_SECONDS if rule.again_seconds is None else rule.again_seconds
        sending.take_back(connection, work.id, work.token, reason=verdict.reason, retry_in_seconds=wait)


def refuse(connection: Connection, work: ClaimedSubmission, refused: PaymentRefused) -> None:
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
