"""Where a call is asked who pays: credentials, a wallet's proof, or a signed payment; and what it is answered with.

Shared by every POST that costs something. Faults at `offer` bend the quote that an unpaid call gets.
"""

import asyncio
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from aiohttp import web

from orchestrator.sandbox import x402
from orchestrator.sandbox.accounts import BadCredentials
from orchestrator.sandbox.cashier import Purchase
from orchestrator.sandbox.customers import PROOF_HEADER, Customer, carried, payment_header
from orchestrator.sandbox.faults import FaultRule
from orchestrator.sandbox.misbehave import after_charge, befall, html_page
from orchestrator.sandbox.payment import InvalidPayment, Payment, read_payment
from orchestrator.sandbox.problems import Problem
from orchestrator.sandbox.proofs import InvalidProof, read_proof
from orchestrator.sandbox.provider import Provider
from orchestrator.sandbox.records import PaymentSettled, Settlement

Payer = Customer | Payment


class Till:
    """Identifies payers, makes offers and settles payments, with the faults that were asked for."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    async def payer(self, request: web.Request) -> Payer:
        """Who pays for a call that carries something to pay with. Raises Problem 400, 401 or 402."""
        if carried(request.headers) == "payment":
            try:
                return await asyncio.to_thread(read_payment, payment_header(request.headers))
            except InvalidPayment as invalid:
                raise Problem(402, "invalid_payment", f"sandbox: {invalid.reason}") from None
        customer = await self.customer(request)
        assert customer is not None, "the call carries credentials or a proof"
        return customer

    async def customer(self, request: web.Request) -> Customer | None:
        """The account of a call by its credentials or its proof, None for a call with neither. Raises Problem 401."""
        proof = request.headers.get(PROOF_HEADER)
        if proof is None:
            return self.account(request)
        try:
            return await asyncio.to_thread(read_proof, proof, self._provider.clock())
        except InvalidProof as invalid:
            self._provider.counters.auth_failures += 1
            raise Problem(401, "invalid_wallet_proof", f"sandbox: {invalid.reason}") from None

    def account(self, request: web.Request) -> Customer | None:
        """The account of credits that a call's credentials open, None where it has none. Raises Problem 401."""
        try:
            account = self._provider.accounts.identify(request.headers)
        except BadCredentials:
            self._provider.counters.auth_failures += 1
            raise Problem(401, "unauthorized", "sandbox: these credentials open no account") from None
        return None if account is None else Customer(account)

    async def strike_offer(self, request: web.Request, body: bytes) -> FaultRule | None:
        """The fault that strikes an unpaid call, played as far as it takes no quote. Raises Problem or Instead."""
        fault = self._provider.faults.strike("offer", body.decode("utf-8", "replace"))
        if fault is None:
            return None
        if fault.kind in ("html", "502-html"):
            raise html_page(200 if fault.kind == "html" else 502)
        await befall(fault, request, self._provider.clock())
        return fault

    def offer(self, bought: Purchase, fault: FaultRule | None) -> Problem:
        """The 402 with what a purchase costs."""
        requirement = self._provider.cashier.offer(bought)
        value = _BENT_HEADERS.get(fault.kind if fault else "", _honest)(requirement)
        headers = {} if value is None else {"PAYMENT-REQUIRED": value}
        return Problem(402, "payment_required", "sandbox: payment required", headers)

    def settle(self, payment: Payment, bought: Purchase, fault: FaultRule | None) -> Settlement:
        """The settlement of a new payment. Raises Problem 402, and 500 where a fault takes the money for nothing."""
        kind = "" if fault is None else fault.kind
        exact = kind == "price"
        if fault is None or kind not in ("late-settlement", "500-after-settlement"):
            return self._provider.cashier.settle(payment, bought, exact=exact)
        late_by = fault.seconds if kind == "late-settlement" else 0.0
        settled = self._provider.cashier.settle(payment, bought, late_by=late_by)
        self._provider.book.record(PaymentSettled(at=self._provider.clock(), payment=settled))
        if kind == "late-settlement":
            raise self._provider.cashier.refusal(bought, "the settlement took too long")
        raise Problem(500, "internal_error", "sandbox: 500-after-settlement on demand")

    async def after(self, request: web.Request, bought: Purchase, fault: FaultRule | None) -> None:
        """The faults that strike when a purchase is made. Raises Problem or Instead.

        A settlement that took too long for the answer is told by the very 402 that else means: nothing was paid.
        """
        if fault is not None and fault.kind == "402-after-charge":
            raise self._provider.cashier.refusal(bought, "the settlement took too long")
        await after_charge(fault, request, self._provider.clock())


def factor_of(fault: FaultRule | None) -> Decimal:
    """How many times the catalogue's prices are asked."""
    return fault.factor if fault is not None else Decimal(1)


def receipt_header(payment: Settlement | None, fault: FaultRule | None) -> dict[str, str]:
    """PAYMENT-RESPONSE of an answer that was paid for directly."""
    kind = None if fault is None else fault.kind
    if payment is None or kind == "no-receipt":
        return {}
    value = x402.header(x402.receipt(payment))
    return {"PAYMENT-RESPONSE": value[: len(value) // 2] + "!" if kind == "garbled-receipt" else value}


def _honest(requirement: x402.Document) -> str | None:
    return x402.header(requirement)


def _with(**fields: str) -> Callable[[Any], str]:
    """Every way to pay with other values in it."""

    def bend(requirement: Any) -> str:
        return x402.header({**requirement, "accepts": [{**entry, **fields} for entry in requirement["accepts"]]})

    return bend


#: What stands in PAYMENT-REQUIRED under a fault at `offer`; None: nothing does.
_BENT_HEADERS: dict[str, Callable[[Any], str | None]] = {
    "pay-to": _with(payTo="0x000000000000000000000000000000000000dEaD"),
    "asset": _with(asset="0x000000000000000000000000000000000000bEEF"),
    "network": _with(network="eip155:1"),
    "scheme": _with(scheme="upto"),
    "no-header": lambda _: None,
    "not-base64": lambda _: "{not base64}",
    "not-json": lambda _: "bm90IGpzb24=",
    "no-offers": lambda requirement: x402.header({**requirement, "accepts": []}),
}
