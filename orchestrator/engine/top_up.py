"""Topping up a wallet's balance: quoted, signed once, stored, sent, and settled by an answer or by the chain.

1. `quote`: the provider says what a top-up costs; the guard looks at it. Nothing is signed.
2. `sign`: the payment is signed and committed; from here on it may settle.
3. `go_on`, again and again: the same payment is sent while it is valid; then the chain tells what became of it.

Killed anywhere, whoever comes next goes on at 3 with what is stored: an account has one open top-up at most, so that
none is paid twice.
"""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar
from uuid import uuid4

from orchestrator.base.clock import SYSTEM_CLOCK, Clock
from orchestrator.base.money import ZERO, canonical
from orchestrator.base.payments import Network, from_atomic
from orchestrator.base.states import PaymentState
from orchestrator.chain.chains import Chains
from orchestrator.chain.word import ChainState, ChainWord, Outstanding
from orchestrator.engine.runtime import log
from orchestrator.katana.client import TOP_UP, KatanaClient, ToppedUp
from orchestrator.katana.verdict import Verdict
from orchestrator.katana.x402 import Offer
from orchestrator.payments import guard
from orchestrator.payments.guard import PaymentRefused
from orchestrator.payments.wallet import Wallet
from orchestrator.store import payees, top_ups
from orchestrator.store.database import Connection
from orchestrator.store.top_ups import TopUp

P = ParamSpec("P")
T = TypeVar("T")
#: Seconds until the same payment is sent again, by how often it was.
_AGAIN_SECONDS = (2.0, 5.0, 10.0, 30.0)
#: Seconds between looks at the chain; one endpoint alone has to say twice, so far apart, that it cannot settle.
LOOK_SECONDS = 60.0
#: Nothing is sent any more so shortly before a payment is too old: it could arrive later.
_MARGIN = timedelta(seconds=10)
#: About how long a blockhash holds: 150 blocks, a few of which are gone when it is final.
_BLOCKHASH_LIFE = timedelta(seconds=45)


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

    @property
    def network(self) -> Network:
        return self.wallet.network


@dataclass(frozen=True, slots=True)
class Quote:
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


async def quote(till: Till, credited: Decimal) -> Quote:
    """What a top-up costs, as the guard lets it pass. Raises NoOffer, PaymentRefused, RpcUnavailable."""
    told = await till.client.discover(body_of(credited), call=TOP_UP)
    if told.verdict is not None:
        raise NoOffer(told.verdict)
    offer = guard.choose(told.offers, till.network)
    pinned = await till.transact(payees.pinned, till.origin, till.network)
    expected = till.pay_to or pinned
    creates_account = await _creates_account(till, offer)
    limit = guard.spend_limit(credited, ZERO, creates_account=creates_account)
    pay_to = guard.check(offer, till.network, limit=limit, pay_to=expected)
    return Quote(credited, from_atomic(offer.amount), pay_to, offer, expected is None, creates_account)


async def _creates_account(till: Till, offer: Offer) -> bool:
    if till.network is not Network.SOLANA or guard.address_of(offer.pay_to, till.network) is None:
        return False
    return not await till.chains.has_token_account(offer.pay_to)


async def sign(till: Till, quoted: Quote) -> TopUp:
    """Sign what was quoted, and commit it: from here on it is sent until it is known what became of it.

    Raises PaymentRefused, OpenTopUp, RpcUnavailable: then nothing was sent, and never will be.
    """
    if till.pay_to is None:
        pinned = await till.transact(payees.pin, till.origin, till.network, quoted.pay_to)
        guard.check(quoted.offer, till.network, limit=quoted.paid, pay_to=pinned)
        if quoted.is_new_payee:
            log.warning(
                "payments on %s to %s go to %s from now on, and to nobody else", till.network, till.origin, pinned
            )
    blockhash = await till.chains.blockhash() if till.network is Network.SOLANA else None
    signed = await asyncio.to_thread(
        till.wallet.pay,
        quoted.offer.entry,
        now=till.clock.now(),
        blockhash=blockhash,
        creates_account=quoted.creates_account,
    )
    top_up = TopUp(
        id=uuid4(),
        state=PaymentState.SIGNED,
        network=signed.network,
        payer=signed.payer,
        pay_to=signed.pay_to,
        asset=signed.asset,
        amount=from_atomic(signed.amount),
        credited=quoted.credited,
        nonce=signed.nonce,
        created_at=till.clock.now(),
        header=signed.header,
        valid_before=signed.valid_before,
        last_valid_height=signed.last_valid_height,
    )
    if top_up.amount != quoted.paid or top_up.pay_to != quoted.pay_to:
        raise PaymentRefused("the wallet signed something else than was quoted")
    if not await till.transact(top_ups.record_signed, till.account_pk, top_up):
        raise OpenTopUp
    return top_up


async def go_on(till: Till) -> TopUp | None:
    """Do what is due for the account's open top-up; how it stands then. None: nothing is due."""
    top_up = await till.transact(top_ups.take_turn, till.account_pk, next_in_seconds=LOOK_SECONDS)
    if top_up is None:
        return None
    if _may_be_sent(top_up, till.clock.now()):
        await _send(till, top_up)
    else:
        await _look(till, top_up)
    return await till.transact(top_ups.find, top_up.id)


def sendable_until(top_up: TopUp) -> datetime:
    """Until when the same payment may be sent again."""
    if top_up.valid_before is not None:
        return top_up.valid_before - _MARGIN
    return top_up.created_at + _BLOCKHASH_LIFE


def _may_be_sent(top_up: TopUp, now: datetime) -> bool:
    return top_up.header is not None and now < sendable_until(top_up)


async def _send(till: Till, top_up: TopUp) -> None:
    assert top_up.header is not None
    await till.transact(top_ups.note_sent, top_up.id, again_in_seconds=_pause(top_up))
    answered = await till.client.top_up(
        body_of(top_up.credited), payment=top_up.header, send_before=sendable_until(top_up)
    )
    if answered.answer is None:
        log.info("the top-up of %s USDC was not confirmed: %s", canonical(top_up.credited), answered.reason)
        return
    receipt = _receipt(answered)
    transaction = _transaction(answered)
    await till.transact(top_ups.end, top_up.id, PaymentState.SETTLED, transaction=transaction, receipt=receipt)


def _pause(top_up: TopUp) -> float:
    return _AGAIN_SECONDS[min(top_up.sends, len(_AGAIN_SECONDS) - 1)]


async def _look(till: Till, top_up: TopUp) -> None:
    """It is too old to be sent: has it settled, or can it not any more?"""
    word = await till.chains.word(_outstanding(top_up))
    if word.state is ChainState.SETTLED:
        await till.transact(
            top_ups.end, top_up.id, PaymentState.SETTLED, transaction=word.transaction, evidence=word.evidence
        )
    elif word.state is ChainState.CANNOT_SETTLE and _is_confirmed(till, top_up, word):
        evidence = {"before": top_up.evidence, **word.evidence}
        await till.transact(top_ups.end, top_up.id, PaymentState.VOID, evidence=evidence)
    else:
        await till.transact(top_ups.note_look, top_up.id, _noted(till, top_up, word))


def _outstanding(top_up: TopUp) -> Outstanding:
    return Outstanding(
        top_up.network,
        top_up.payer,
        top_up.nonce,
        since=top_up.created_at,
        valid_before=top_up.valid_before,
        last_valid_height=top_up.last_valid_height,
    )


def _is_confirmed(till: Till, top_up: TopUp, word: ChainWord) -> bool:
    """Whether enough looks, far enough apart, said that it cannot settle."""
    if till.chains.looks_needed(top_up.network) == 1:
        return True
    first = (top_up.evidence or {}).get("first_seen_at")
    return first is not None and till.clock.now() >= datetime.fromisoformat(first) + timedelta(seconds=LOOK_SECONDS)


def _noted(till: Till, top_up: TopUp, word: ChainWord) -> dict[str, Any]:
    """A look that has to be confirmed keeps when that was first seen; any other breaks the row."""
    if word.state is not ChainState.CANNOT_SETTLE:
        return word.evidence
    first = (top_up.evidence or {}).get("first_seen_at") or till.clock.now().isoformat()
    return word.evidence | {"first_seen_at": first}


def _receipt(answered: ToppedUp) -> dict[str, Any]:
    answer = answered.answer.model_dump(mode="json") if answered.answer is not None else {}
    return {"answer": answer, "settlement": answered.settlement}


def _transaction(answered: ToppedUp) -> str | None:
    """The chain's name of the payment, where the answer or its receipt has one."""
    extra = (answered.answer.model_extra if answered.answer is not None else None) or {}
    for document in (answered.settlement or {}, extra):
        for name in ("transaction", "txHash", "transactionHash", "transaction_hash", "tx_hash", "signature"):
            if isinstance(document.get(name), str) and document[name]:
                return str(document[name])
    return None
