"""Topping up a wallet's balance: quoted, signed once, stored, sent, and settled by an answer or by the chain.

1. `quote`: the provider says what a top-up costs; the guard looks at it. Nothing is signed.
2. `sign`: the payment is signed and committed; from here on it may settle.
3. `go_on`, again and again: the same payment is sent while it is valid; then the chain tells what became of it.

Killed anywhere, whoever comes next goes on at 3 with what is stored: an account has one open top-up at most, so that
none is paid twice. A receipt outside the database is written before each sending: a database that was put back takes
over what it does not know, and it is looked up on its chain.
"""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Concatenate, ParamSpec, Protocol, TypeVar
from uuid import uuid4

from orchestrator.base.clock import SYSTEM_CLOCK, Clock
from orchestrator.base.money import ZERO, canonical
from orchestrator.base.payments import Network, from_atomic
from orchestrator.base.states import PaymentState
from orchestrator.chain.chains import Chains
from orchestrator.chain.word import ChainState, Outstanding
from orchestrator.engine.payee import creates_account, require_as_told
from orchestrator.engine.receipts import Receipts
from orchestrator.engine.runtime import Engine, log
from orchestrator.engine.signing import sign_offer, without_signature
from orchestrator.engine.validity import LOOK_SECONDS, is_confirmed, noted, pause_seconds, sendable_until
from orchestrator.katana.client import TOP_UP, KatanaClient
from orchestrator.katana.verdict import Verdict
from orchestrator.katana.x402 import Offer, secrets_of, transaction_in
from orchestrator.payments import guard
from orchestrator.payments.wallet import Wallet
from orchestrator.receipts.receipt import TopUpReceipt
from orchestrator.store import payees, top_ups
from orchestrator.store.accounts import origin_and_account
from orchestrator.store.database import Connection
from orchestrator.store.top_ups import TopUp

P = ParamSpec("P")
T = TypeVar("T")
#: Whoever takes a turn has so long until another one may: who was killed in between is not waited for long.
_TURN_SECONDS = 5.0


class NoOffer(Exception):
    """The provider does not say what a top-up costs; `verdict` is what it said."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.reason)
        self.verdict = verdict


class OpenTopUp(Exception):
    """Another top-up of the account may still settle: nothing was sent."""


class Transact(Protocol):
    """Runs work in one transaction, over again after an outage of the database."""

    async def __call__(self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T: ...


@dataclass(frozen=True, slots=True)
class Till:
    """What a top-up needs: who pays, at which provider, and where it is written down.

    `pay_to` is the recipient that is configured; None: the one pinned for the origin.
    """

    client: KatanaClient
    chains: Chains
    wallet: Wallet
    transact: Transact
    origin: str
    account_pk: int
    pay_to: str | None = None
    clock: Clock = SYSTEM_CLOCK
    #: None where nothing is paid.
    receipts: Receipts | None = None

    @property
    def network(self) -> Network:
        return self.wallet.network


@dataclass(frozen=True, slots=True)
class TopUpQuote:
    """What a top-up costs: `paid` leaves the wallet, `credited` is added to its balance. Amounts are USDC."""

    credited: Decimal
    paid: Decimal
    pay_to: str
    offer: Offer
    #: Whether nobody was ever paid at this origin and network before: a person should look at the recipient.
    is_new_payee: bool = False
    creates_account: bool = False


def body_of(credited: Decimal) -> bytes:
    """The exact bytes of a top-up; the same amount always gives the same (guide, "x402 wallet balance top-up")."""
    return json.dumps({"amount_usdc": canonical(credited)}, separators=(",", ":")).encode()


async def go_on_with_open(engine: Engine) -> None:
    """Go on with what the account of an engine has open of top-ups; only commands sign them."""
    if engine.wallet is None or engine.chains is None or not engine.payment.is_wallet:
        return
    account_pk = engine.scope.account_pk
    if await engine.transact(top_ups.find_open, account_pk) is None:
        return
    origin, _ = await engine.transact(origin_and_account, account_pk)
    till = Till(
        engine.client,
        engine.chains,
        engine.wallet,
        engine.persist,
        origin,
        account_pk,
        engine.pay_to,
        engine.clock,
        engine.receipts,
    )
    stands = await go_on(till)
    if stands is not None and stands.state is not PaymentState.SIGNED:
        log.warning("the top-up of %s USDC is %s", canonical(stands.credited), stands.state)


async def quote(till: Till, credited: Decimal) -> TopUpQuote:
    """What a top-up costs, as the guard lets it pass. Raises NoOffer, PaymentRefused, RpcUnavailable."""
    told = await till.client.discover(body_of(credited), call=TOP_UP)
    if told.verdict is not None:
        raise NoOffer(told.verdict)
    offer = guard.choose(told.offers, till.network)
    pinned = await till.transact(payees.pinned, till.origin, till.network)
    expected = till.pay_to or pinned
    makes_account = await creates_account(till.chains, till.network, offer)
    limit = guard.spend_limit(credited, ZERO, creates_account=makes_account)
    pay_to = guard.check(offer, till.network, limit=limit, pay_to=expected)
    return TopUpQuote(credited, from_atomic(offer.amount), pay_to, offer, expected is None, makes_account)


async def sign(till: Till, quoted: TopUpQuote) -> TopUp:
    """Sign what was quoted, and commit it: from here on it is sent until it is known what became of it.

    Raises PaymentRefused, OpenTopUp, RpcUnavailable: then nothing was sent, and never will be.
    """
    if till.pay_to is None:
        await require_as_told(till.client, till.network, quoted.pay_to)
        pinned = await till.transact(payees.pin, till.origin, till.network, quoted.pay_to)
        guard.check(quoted.offer, till.network, limit=quoted.paid, pay_to=pinned)
        if quoted.is_new_payee:
            log.warning(
                "payments on %s to %s go to %s from now on, and to nobody else", till.network, till.origin, pinned
            )
    blockhash = await till.chains.blockhash() if till.network is Network.SOLANA else None
    now = till.clock.now()
    signed = await sign_offer(
        till.wallet,
        quoted.offer,
        amount=quoted.paid,
        pay_to=quoted.pay_to,
        now=now,
        blockhash=blockhash,
        creates_account=quoted.creates_account,
    )
    payment = without_signature(signed)
    top_up = TopUp(uuid4(), PaymentState.SIGNED, payment, quoted.credited, created_at=now, header=signed.header)
    if not await till.transact(top_ups.record_signed, till.account_pk, top_up):
        raise OpenTopUp
    return top_up


async def go_on(till: Till) -> TopUp | None:
    """Do what is due for the account's open top-up; how it stands then. None: nothing is due."""
    top_up = await till.transact(top_ups.take_turn, till.account_pk, next_in_seconds=_TURN_SECONDS)
    if top_up is None:
        return None
    if top_up.header is not None and till.clock.now() < _sendable_until(top_up):
        await _send(till, top_up, top_up.header)
    else:
        await _look(till, top_up)
    return await till.transact(top_ups.find, top_up.id)


def _sendable_until(top_up: TopUp) -> datetime:
    return sendable_until(top_up.payment, top_up.created_at)


async def _send(till: Till, top_up: TopUp, header: str) -> None:
    if till.receipts is not None and not await asyncio.to_thread(till.receipts.keep_top_up, receipt_of(top_up)):
        return
    await till.transact(top_ups.note_sent, top_up.id, again_in_seconds=pause_seconds(top_up.sends + 1))
    answered = await till.client.top_up(body_of(top_up.credited), payment=header, send_before=_sendable_until(top_up))
    if answered.answer is None:
        reason = answered.reason if _is_clean(answered.reason, header) else f"HTTP {answered.status}"
        log.info("the top-up of %s USDC was not confirmed: %s", canonical(top_up.credited), reason)
        return
    if not answered.answer.is_of(top_up.payment.payer, top_up.credited):
        log.warning("what was answered to the top-up of %s USDC is not of it", canonical(top_up.credited))
        return
    receipt = {"answer": answered.answer.model_dump(mode="json"), "settlement": answered.settlement}
    if not _is_clean(json.dumps(receipt), header):  # what is signed is kept nowhere once it has settled
        receipt = {"answer": answered.answer.amounts(), "settlement": None}
    transaction = transaction_in(answered.settlement) or transaction_in(answered.answer.model_dump(mode="json"))
    await till.transact(top_ups.end, top_up.id, PaymentState.SETTLED, transaction=transaction, receipt=receipt)


def receipt_of(top_up: TopUp, *, is_told: bool = False) -> TopUpReceipt:
    """What is kept of a top-up outside the database."""
    return TopUpReceipt(
        id=top_up.id,
        created_at=top_up.created_at,
        credited=top_up.credited,
        payment=top_up.payment,
        is_told=is_told,
    )


def _is_clean(text: str, header: str) -> bool:
    """Whether nothing of a signature is repeated in what was answered."""
    return not any(secret in text for secret in secrets_of(header))


async def _look(till: Till, top_up: TopUp) -> None:
    """It is too old to be sent: has it settled, or can it not any more?"""
    payment, now = top_up.payment, till.clock.now()
    word = await till.chains.word(
        Outstanding(
            payment.network,
            payment.payer,
            payment.nonce,
            since=top_up.created_at,
            valid_before=payment.valid_before,
            last_valid_height=payment.last_valid_height,
            after_slot=payment.after_slot,
        )
    )
    if word.state is ChainState.SETTLED:
        settled = PaymentState.SETTLED
        await till.transact(top_ups.end, top_up.id, settled, transaction=word.transaction, evidence=word.evidence)
    elif is_confirmed(word, top_up.evidence, now, looks_needed=till.chains.looks_needed(payment.network)):
        evidence = {"before": top_up.evidence, **word.evidence}
        await till.transact(top_ups.end, top_up.id, PaymentState.VOID, evidence=evidence)
    else:
        evidence = noted(word, top_up.evidence, now)
        await till.transact(top_ups.note_look, top_up.id, evidence, again_in_seconds=LOOK_SECONDS)
