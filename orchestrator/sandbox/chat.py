"""The text endpoints over HTTP: chat completions, and the attestation of private models.

Source: guide, "Text / LLM Chat Completion Basics". The reserve is charged first; what was not used is given back to a
balance. A payment of its own is spent whole, whatever was used.
"""

import asyncio
import hashlib
import random
from decimal import Decimal

from aiohttp import web

from orchestrator.base.money import ZERO, canonical
from orchestrator.catalog.models import TextModel
from orchestrator.sandbox.customers import Customer, carried, direct
from orchestrator.sandbox.faults import FaultRule
from orchestrator.sandbox.misbehave import after_charge, before_charge
from orchestrator.sandbox.payment import Payment
from orchestrator.sandbox.problems import Problem
from orchestrator.sandbox.provider import Provider, digest, purchase
from orchestrator.sandbox.question import Question, price_of, read_question
from orchestrator.sandbox.records import Charged
from orchestrator.sandbox.till import Till, factor_of, receipt_header
from orchestrator.sandbox.words import Written, write

_THINKING_SECONDS = (0.3, 1.5)
_PRIVATE = "E2EE Private"
_NONCE_CHARACTERS = 64


class Chat:
    """Handlers of the text endpoints; `routes` lists them."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._till = Till(provider)

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/v1/chat/completions", self.complete),
            web.get("/v1/text/attestation", self.attest),
        ]

    async def complete(self, request: web.Request) -> web.Response:
        """Sets the reserve aside, writes, gives back. Faults at `submit` strike as for images."""
        body = await request.read()
        if carried(request.headers) is None:
            fault = await self._till.strike_offer(request, body)
            reserve = price_of((await self._read(request, body)).reserve(factor_of(fault)))
            raise self._till.offer(purchase(request.path, body, reserve), fault)
        self._provider.note_post(body)
        fault = self._provider.faults.strike("submit", body.decode("utf-8", "replace"))
        await before_charge(fault, request, self._provider.clock())
        payer = await self._till.payer(request)
        question = await self._read(request, body)
        written = write(question, digest(body))
        charge, is_new = self._charge(request, body, payer, question, fault)
        refund = self._unused(question, written, charge, fault)
        if is_new:
            seconds = random.Random(charge.charge_id).uniform(*_THINKING_SECONDS)
            await asyncio.sleep(seconds * self._provider.pace.time_scale)
            if refund > 0:
                self._provider.refund(charge, refund)
        await after_charge(fault, request, self._provider.clock())
        document = self._document(question, written, charge, refund)
        return web.json_response(document, headers=receipt_header(charge.payment, fault))

    async def attest(self, request: web.Request) -> web.Response:
        """The proof of a private model; that of a stand-in proves nothing, and says so."""
        if self._till.account(request) is None:
            self._provider.counters.auth_failures += 1
            raise Problem(401, "unauthorized", "sandbox: credentials are required")
        name, nonce = request.query.get("model", ""), request.query.get("nonce", "")
        model = self._provider.catalog.get(name)
        if not isinstance(model, TextModel):
            raise Problem(404, "unknown_model", f"no text model named {name!r}")
        if model.privacy != _PRIVATE:
            raise Problem(400, "attestation_unavailable", f"{name} is no private model")
        if len(nonce) != _NONCE_CHARACTERS or not set(nonce) <= set("0123456789abcdef"):
            raise Problem(400, "invalid_value", "nonce must be 64 hex digits")
        quote = hashlib.sha256(f"sandbox:{name}:{nonce}".encode()).hexdigest()
        proof = {"model": name, "nonce": nonce, "privacy": _PRIVATE, "verified": False}
        return web.json_response(proof | {"intel_tdx_quote": f"sandbox-{quote}", "nvidia_payload": f"sandbox-{quote}"})

    async def _read(self, request: web.Request, body: bytes) -> Question:
        provider = self._provider
        return await asyncio.to_thread(
            read_question, body, request.content_type, provider.catalog, provider.urls.origin
        )

    def _charge(
        self, request: web.Request, body: bytes, payer: Customer | Payment, question: Question, fault: FaultRule | None
    ) -> tuple[Charged, bool]:
        """The charge for a question, and whether it is a new one: a payment that comes again has paid already."""
        price = price_of(question.reserve(factor_of(fault)))
        payment = None
        if isinstance(payer, Payment):
            bought = purchase(request.path, body, price)
            earlier = self._provider.cashier.replayed(payer, bought)
            found = None if earlier is None else self._provider.book.charge(earlier.charge_id or "")
            if found is not None:
                return found, False
            payment = self._till.settle(payer, bought, fault)
            payer = direct(payer.network, payer.payer)
        charge = self._provider.charge(
            payer,
            price,
            model=question.model.name,
            prompt=question.prompt,
            body_sha256=digest(body),
            payment=payment,
        )
        return charge, True

    def _unused(self, question: Question, written: Written, charge: Charged, fault: FaultRule | None) -> Decimal:
        """What is given back of a reserve, in the unit of its account."""
        if charge.payment is not None:
            return ZERO
        if written.finish_reason == "error":
            return charge.amount
        cost = price_of(question.cost(written.tokens, factor_of(fault)))
        return max(charge.amount - (cost.credits if _is_of_credits(charge) else cost.usd), ZERO)

    def _document(self, question: Question, written: Written, charge: Charged, refund: Decimal) -> dict[str, object]:
        choice: dict[str, object] = {
            "index": 0,
            "message": {"role": "assistant", "content": written.text},
            "finish_reason": written.finish_reason,
        }
        if written.finish_reason == "error":
            choice["error"] = {"code": "generation_failed", "message": "sandbox: the generation failed"}
        return {
            "id": f"chatcmpl-{charge.charge_id}",
            "object": "chat.completion",
            "created": int(charge.at),
            "model": question.model.name,
            "choices": [choice],
            "usage": {
                "prompt_tokens": question.prompt_tokens,
                "completion_tokens": written.tokens,
                "total_tokens": question.prompt_tokens + written.tokens,
                "imgnai": self._billing(question, charge, refund),
            },
        }

    def _billing(self, question: Question, charge: Charged, refund: Decimal) -> dict[str, str]:
        """`usage.imgnai`, as the guide lists what is in it for each way of paying."""
        about = {"model": question.model.name, "privacy_mode": question.model.privacy}
        if _is_of_credits(charge):
            return about | {
                "credits_reserved": canonical(charge.amount),
                "credits_charged": canonical(charge.amount - refund),
                "credits_refunded": canonical(refund),
                "billing_source": "api_key",
            }
        paid = about | {"paid_usdc": canonical(charge.amount - refund)}
        if charge.payment is not None:
            return paid | {"billing_source": "x402", "transaction": charge.payment.transaction}
        balance = self._provider.book.balance(charge.account, self._provider.clock())
        return paid | {"wallet_balance_after_usdc": canonical(balance), "billing_source": "x402_wallet"}


def _is_of_credits(charge: Charged) -> bool:
    return Customer(charge.account).unit == "credits"
