"""The provider's API, one method an endpoint. Nothing here tries anything again, but for what was refused (401) with a
wallet's proof that may be stale: it is sent once more with a fresh one.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlencode

from orchestrator.base import faults
from orchestrator.base.clock import SYSTEM_CLOCK, Clock
from orchestrator.katana.carrier import Carrier, HttpCarrier
from orchestrator.katana.line import Line, ProviderUnavailable
from orchestrator.katana.problem import Problem, read_problem
from orchestrator.katana.verdict import Kind, Verdict, judge
from orchestrator.katana.wallet_wire import (
    TopUpAnswer,
    WalletTransaction,
    read_top_up,
    read_wallet_balance,
    read_wallet_transactions,
)
from orchestrator.katana.wire import Answer, Balance, parse_answer, parse_object
from orchestrator.katana.x402 import (
    PAYMENT_HEADER,
    REQUIRED_HEADER,
    RESPONSE_HEADER,
    BadRequirement,
    Offer,
    parse_requirement,
    parse_settlement,
)


@dataclass(frozen=True, slots=True)
class Call:
    """A paid endpoint: its path and query."""

    path: str
    is_chat: bool = False


#: Images and videos (guide, "Main Generation Endpoint").
GENERATION = Call("/v1/generation-requests?wait=false")
#: Texts (guide, "Text / LLM Chat Completion Basics").
CHAT = Call("/v1/chat/completions", is_chat=True)
#: The balance of the paying wallet (guide, "x402 wallet balance top-up").
TOP_UP = Call("/v1/x402/top-up")


@dataclass(frozen=True, slots=True)
class Discovery:
    """What an unpaid call was answered: `offers` where payment is asked for, else why not (`verdict`).

    Nothing was charged, whatever it says: the call carried neither credentials nor a payment.
    """

    offers: tuple[Offer, ...] = ()
    verdict: Verdict | None = None


@dataclass(frozen=True, slots=True)
class ToppedUp:
    """What a paid top-up was answered: final only where there is an `answer` that tells what was credited."""

    reason: str
    status: int | None = None
    answer: TopUpAnswer | None = None
    settlement: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Polled:
    """The provider's present word on a request."""

    answer: Answer
    problem: Problem | None


class KatanaClient:
    """The provider at one base URL, spoken to with one set of billing headers.

    `proof` makes further headers, anew for each call, as of the provider's time: a wallet's proof goes stale.
    `balance_of` is the address of the wallet whose balance pays; without one, `balance` is that of the credits.
    `carrier` carries everything in place of the network.
    """

    def __init__(
        self,
        base_url: str,
        headers: dict[str, str],
        *,
        proof: Callable[[datetime], Mapping[str, str]] | None = None,
        balance_of: str | None = None,
        carrier: Carrier | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._clock = clock
        self._balance_of = balance_of
        self._line = Line(base_url, headers, carrier or HttpCarrier(base_url), clock, proof)

    @property
    def provider_ahead(self) -> timedelta | None:
        """How far the provider's clock was ahead of ours, by its last answer; None before there is one."""
        return self._line.provider_ahead

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._line.close()

    async def submit(
        self,
        body: bytes,
        *,
        call: Call = GENERATION,
        item_count: int = 1,
        send_before: datetime | None = None,
        payment: str | None = None,
        leave: Callable[[], Awaitable[None]] | None = None,
    ) -> Verdict:
        """One paid POST of exactly `body`. Never raises for what it meets, only what `leave` raises: it is awaited on
        the open connection right before the first byte, and where it raises none leaves.

        A process that was asleep sends nothing once it is past `send_before`. `payment` is a signed x402 payment: with
        one, only an acceptance is final.
        """
        attempt = await self._pay_once(call, body, item_count, payment, send_before, leave)
        if payment is None and attempt.kind is Kind.REFUSED and self._line.is_stale(attempt.status):
            return await self._pay_once(call, body, item_count, None, send_before, None)
        return attempt

    async def _pay_once(
        self,
        call: Call,
        body: bytes,
        item_count: int,
        payment: str | None,
        send_before: datetime | None,
        leave: Callable[[], Awaitable[None]] | None,
    ) -> Verdict:
        headers = {PAYMENT_HEADER: payment} if payment is not None else self._line.proven()
        sent = await self._line.post("pay", call.path, body, headers, send_before, leave, is_text=call.is_chat)
        faults.point("pay.answered")
        verdict = judge(
            sending_began=sent.sending_began,
            reply=sent.reply,
            failure=sent.failure,
            signed=payment is not None,
            item_count=item_count,
            is_chat=call.is_chat,
            clock=self._clock,
        )
        return replace(verdict, is_late=True) if sent.is_late else verdict

    async def top_up(self, body: bytes, *, payment: str, send_before: datetime | None = None) -> ToppedUp:
        """One top-up of exactly `body`, with its signed payment. Never raises; only a told credit is final."""
        sent = await self._line.post("pay", TOP_UP.path, body, {PAYMENT_HEADER: payment}, send_before)
        faults.point("pay.answered")
        reply = sent.reply
        if reply is None:
            return ToppedUp(sent.failure or "no answer")
        answer = read_top_up(reply.body or b"") if 200 <= reply.status < 300 else None
        if answer is None or not answer.is_told:
            problem = read_problem(parse_object(reply.body or b""))
            return ToppedUp(f"HTTP {reply.status}{f': {problem.message}' if problem else ''}", reply.status)
        settlement = parse_settlement(reply.headers.get(RESPONSE_HEADER))
        return ToppedUp(f"HTTP {reply.status}", reply.status, answer, settlement)

    async def discover(self, body: bytes, *, call: Call = GENERATION, item_count: int = 1) -> Discovery:
        """The same POST without a payment, to be told what it costs (guide, "x402 request sequence"). Never raises."""
        sent = await self._line.post("offer", call.path, body, {}, is_text=call.is_chat)
        reply = sent.reply
        if reply is not None and reply.status == HTTPStatus.PAYMENT_REQUIRED:
            try:
                return Discovery(offers=tuple(parse_requirement(reply.headers.get(REQUIRED_HEADER))))
            except BadRequirement as error:
                return Discovery(verdict=Verdict(Kind.REFUSED, error.reason, status=reply.status))
        verdict = judge(
            sending_began=sent.sending_began,
            reply=reply,
            failure=sent.failure,
            item_count=item_count,
            clock=self._clock,
        )
        return Discovery(verdict=verdict)

    async def poll(self, request_id: str) -> Polled:
        """The present state of a request. Raises ProviderUnavailable; its status 404 may mean "not yet" or "lost"."""
        reply = await self._line.get(f"/v1/generation-requests/{_path_word(request_id)}")
        answer = parse_answer(reply.body or b"")
        if answer is None or (answer.status is None and not answer.responses):
            raise ProviderUnavailable("the poll's answer is not readable", status=reply.status)
        if answer.request_id not in (None, request_id):
            raise ProviderUnavailable("the poll's answer is about another request", status=reply.status)
        return Polled(answer, read_problem(answer.error))

    async def balance(self) -> Decimal:
        """What the account has, in its own unit (guide, "Credits / API key examples"). Raises ProviderUnavailable."""
        if self._balance_of is not None:
            return await self.wallet_balance(self._balance_of)
        reply = await self._line.get("/v1/me/balance")
        has = Balance.model_validate(parse_object(reply.body or b"") or {}).credits
        if has is None:
            raise ProviderUnavailable("the balance answer is not readable", status=reply.status)
        return has

    async def wallet_balance(self, address: str) -> Decimal:
        """The USDC of a wallet at the provider. Needs its proof. Raises ProviderUnavailable."""
        reply = await self._line.get(f"/v1/x402/balance/{_path_word(address)}")
        has = read_wallet_balance(reply.body or b"")
        if has is None:
            raise ProviderUnavailable("the answer on the wallet's balance is not readable", status=reply.status)
        return has

    async def transactions(self, address: str) -> list[WalletTransaction]:
        """What moved the balance of a wallet at the provider. Needs its proof. Raises ProviderUnavailable."""
        reply = await self._line.get(f"/v1/x402/transactions/{_path_word(address)}")
        told = read_wallet_transactions(reply.body or b"")
        if told is None:
            raise ProviderUnavailable("the list of the wallet's transactions is not readable", status=reply.status)
        return told

    async def x402(self) -> dict[str, Any]:
        """The description of the x402 endpoints (guide, "x402 discovery endpoint"). Raises ProviderUnavailable."""
        reply = await self._line.get("/v1/x402")
        document = parse_object(reply.body or b"")
        if document is None:
            raise ProviderUnavailable("the answer on x402 is not readable", status=reply.status)
        return document

    async def attestation(self, model: str, nonce: str) -> dict[str, Any]:
        """The privacy proof of a private text model, as it came (guide, "Privacy proof example").

        Raises ProviderUnavailable.
        """
        query = urlencode({"model": model, "nonce": nonce})
        reply = await self._line.get(f"/v1/text/attestation?{query}", is_text=True)
        proof = parse_object(reply.body or b"")
        if proof is None:
            raise ProviderUnavailable("the attestation is not readable", status=reply.status)
        return proof

    async def models(self) -> bytes:
        """The catalogue document as it came. Raises ProviderUnavailable."""
        return (await self._line.get("/v1/models")).body or b""


def _path_word(request_id: str) -> str:
    """A request id as one path segment: it comes from the wire and must not reach another endpoint."""
    if request_id in (".", ".."):
        raise ProviderUnavailable("the request id cannot be asked about", status=400)
    return quote(request_id, safe="")
