"""The x402 endpoints beside the paid calls: what is taken, top-ups of a wallet's balance, and its reads."""

from decimal import Decimal

from aiohttp import web
from pydantic_core import from_json

from orchestrator.base.money import parse_amount
from orchestrator.base.payments import ATOMIC
from orchestrator.sandbox import x402
from orchestrator.sandbox.cashier import Purchase
from orchestrator.sandbox.chains import RECIPIENTS
from orchestrator.sandbox.customers import Customer, carried, wallet
from orchestrator.sandbox.faults import FaultRule
from orchestrator.sandbox.misbehave import befall, before_charge, html_page
from orchestrator.sandbox.payment import Payment
from orchestrator.sandbox.problems import Problem
from orchestrator.sandbox.provider import Price, Provider, purchase, repriced_usd
from orchestrator.sandbox.records import PaymentSettled, Settlement
from orchestrator.sandbox.till import Till, factor_of, receipt_header
from orchestrator.sandbox.transactions import transactions

_MOST_USDC = 1_000_000


class WalletSite:
    """Handlers of `/v1/x402`; `routes` lists them."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._till = Till(provider)

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/v1/x402", self.capabilities),
            web.post("/v1/x402/top-up", self.top_up),
            web.get("/v1/x402/balance/{address}", self.balance),
            web.get("/v1/x402/transactions/{address}", self.transactions),
        ]

    async def capabilities(self, request: web.Request) -> web.Response:
        """What the provider takes; needs no credentials."""
        await self._strike(request)
        return web.json_response(x402.capabilities())

    async def top_up(self, request: web.Request) -> web.Response:
        """Sells balance: the amount that the body names is credited, and the settlement's cost is paid on top."""
        body = await request.read()
        way = carried(request.headers)
        if way in ("credits", "proof"):
            raise Problem(400, "invalid_payment", "sandbox: a top-up is paid with PAYMENT-SIGNATURE")
        if way is None:
            fault = await self._till.strike_offer(request, body)
            raise self._till.offer(purchase(request.path, body, _price(_amount(request, body), fault)), fault)
        self._provider.note_post(body)
        fault = self._provider.faults.strike("top-up", body.decode("utf-8", "replace"))
        await before_charge(fault, request, self._provider.clock())
        payer = await self._till.payer(request)
        assert isinstance(payer, Payment), "the call carries a payment"
        amount = _amount(request, body)
        bought = purchase(request.path, body, _price(amount, fault))
        payment = self._sell(bought, amount, payer, fault)
        await self._till.after(request, bought, fault)
        return web.json_response(self._top_up_document(payment, amount), headers=receipt_header(payment, fault))

    async def balance(self, request: web.Request) -> web.Response:
        """What the wallet has at the provider."""
        await self._strike(request)
        customer = await self._owner(request)
        return web.json_response({**_wallet(customer), "balance_usdc": _usdc(self._provider.balance(customer))})

    async def transactions(self, request: web.Request) -> web.Response:
        """Every movement of that balance, newest first."""
        await self._strike(request)
        customer = await self._owner(request)
        found = transactions(self._provider.book, customer.account, self._provider.clock())
        return web.json_response({**_wallet(customer), "transactions": found})

    def _sell(self, bought: Purchase, amount: Decimal, payer: Payment, fault: FaultRule | None) -> Settlement:
        earlier = self._provider.cashier.replayed(payer, bought)
        if earlier is not None:
            return earlier.payment
        payment = self._till.settle(payer, bought, fault)
        self._provider.book.record(PaymentSettled(at=self._provider.clock(), payment=payment, credited=amount))
        return payment

    def _top_up_document(self, payment: Settlement, credited: Decimal) -> dict[str, object]:
        customer = wallet(payment.network, payment.payer)
        return {
            **_wallet(customer),
            "credited_usdc": _usdc(credited),
            "paid_usdc": _usdc(payment.amount * ATOMIC),
            "balance_usdc": _usdc(self._provider.balance(customer)),
            "transaction": payment.transaction,
        }

    async def _strike(self, request: web.Request) -> None:
        fault = self._provider.faults.strike("wallet", request.path)
        if fault is None:
            return
        if fault.kind == "html":
            raise html_page(200)
        await befall(fault, request, self._provider.clock())

    async def _owner(self, request: web.Request) -> Customer:
        """The wallet of the path, whose proof the call must carry."""
        if carried(request.headers) != "proof":
            raise Problem(401, "unauthorized", "sandbox: X-Sign-In-With-X is required")
        customer = await self._till.customer(request)
        assert customer is not None, "the call carries a proof"
        if request.match_info["address"].lower() != customer.address.lower():
            raise Problem(403, "forbidden", "sandbox: the proof is of another wallet")
        return customer


def _amount(request: web.Request, body: bytes) -> Decimal:
    """`amount_usdc` of a top-up. Raises Problem 400 or 415."""
    if request.content_type != "application/json":
        raise Problem(415, "unsupported_media_type", "send Content-Type: application/json")
    try:
        document = from_json(body, allow_inf_nan=False)
        amount = parse_amount(document["amount_usdc"])
    except (ValueError, TypeError, KeyError):
        raise Problem(400, "invalid_request", 'send {"amount_usdc": "1.00"}') from None
    if not 0 < amount <= _MOST_USDC or amount % ATOMIC:
        raise Problem(400, "invalid_request", f"amount_usdc must be of at most {_MOST_USDC} and 6 decimals")
    return amount


def _price(amount: Decimal, fault: FaultRule | None) -> Price:
    return Price(Decimal(0), repriced_usd(amount, factor_of(fault)))


def _wallet(customer: Customer) -> dict[str, object]:
    assert customer.network is not None, "a wallet is on a network"
    recipient = RECIPIENTS[customer.network]
    return {"wallet_address": customer.address, "network": recipient.caip2, "asset": recipient.asset}


def _usdc(amount: Decimal) -> str:
    return f"{amount:.6f}"
