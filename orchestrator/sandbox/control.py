"""What tests and demos read and set over HTTP: faults, ledger, requests, statistics. No real provider has these."""

from collections.abc import Mapping
from dataclasses import asdict
from decimal import Decimal

from aiohttp import web
from pydantic import BaseModel, ValidationError

from orchestrator.base.money import canonical, optional_canonical
from orchestrator.base.payments import from_atomic
from orchestrator.sandbox.answers import rfc3339
from orchestrator.sandbox.book import Entry
from orchestrator.sandbox.cashier import Ways
from orchestrator.sandbox.customers import unit_of
from orchestrator.sandbox.faults import Faults
from orchestrator.sandbox.problems import Problem
from orchestrator.sandbox.provider import Provider
from orchestrator.sandbox.records import Amount
from orchestrator.sandbox.settlements import Paid


class TopUp(BaseModel):
    """Credits for an account."""

    account: str
    credits: Amount


class Control:
    """Handlers of `/sandbox`; `routes` lists them."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/sandbox/faults", self.faults),
            web.post("/sandbox/faults", self.set_faults),
            web.get("/sandbox/ledger", self.ledger),
            web.post("/sandbox/top-up", self.top_up),
            web.get("/sandbox/requests", self.requests),
            web.get("/sandbox/payments", self.payments),
            web.get("/sandbox/x402", self.ways),
            web.post("/sandbox/x402", self.set_ways),
            web.get("/sandbox/stats", self.stats),
        ]

    async def faults(self, _: web.Request) -> web.Response:
        """The rules in force and how often each has struck."""
        return web.json_response({"rules": self._provider.faults.document()})

    async def set_faults(self, request: web.Request) -> web.Response:
        """Replaces all rules by those of the body, `{"rules": [...]}`."""
        try:
            faults = Faults.model_validate_json(await request.read())
        except ValidationError as error:
            raise Problem(400, "invalid_faults", str(error)) from None
        self._provider.faults.play(faults)
        return await self.faults(request)

    async def ledger(self, _: web.Request) -> web.Response:
        """Every charge and refund up to now, each account's balance, and every POST that arrived.

        `balances` are the accounts of credits, `usdc_balances` those of wallets.
        """
        now, book = self._provider.clock(), self._provider.book
        posts = [post.model_dump(mode="json", exclude={"kind"}) for post in book.posts()]
        entries = [_entry_document(entry) for entry in book.entries(now)]
        return web.json_response(
            {
                "entries": entries,
                "balances": _canonical(book.balances(now)),
                "usdc_balances": _canonical(book.balances(now, "usdc")),
                "posts": posts,
            }
        )

    async def payments(self, _: web.Request) -> web.Response:
        """Every payment that was signed for the sandbox and taken, what became of it, and what the payers have left."""
        settlements = self._provider.book.settlements
        paid = settlements.all()
        payers = dict.fromkeys((each.payment.network, each.payment.payer) for each in paid)
        funds = {
            f"{network}:{payer}": canonical(from_atomic(settlements.funds(network, payer))) for network, payer in payers
        }
        return web.json_response(
            {"payments": [_payment_document(each) for each in paid], "funds": funds, "offers": settlements.offers_made}
        )

    async def ways(self, _: web.Request) -> web.Response:
        """How the sandbox does what the guide leaves open."""
        return web.json_response(self._provider.ways.model_dump())

    async def set_ways(self, request: web.Request) -> web.Response:
        """Changes what the body names, `{"replays": "refused"}`."""
        try:
            wanted = Ways.model_validate_json(await request.read())
        except ValidationError as error:
            raise Problem(400, "invalid_ways", str(error)) from None
        for name in wanted.model_fields_set:
            setattr(self._provider.ways, name, getattr(wanted, name))
        return await self.ways(request)

    async def top_up(self, request: web.Request) -> web.Response:
        """Puts credits into an account, `{"account": "...", "credits": "10"}`; answers with the ledger."""
        try:
            wanted = TopUp.model_validate_json(await request.read())
        except ValidationError as error:
            raise Problem(400, "invalid_top_up", str(error)) from None
        self._provider.top_up(wanted.account, wanted.credits)
        return await self.ledger(request)

    async def requests(self, _: web.Request) -> web.Response:
        """Every accepted request as a poll would show it now, with its account."""
        answers = [
            {**self._provider.answer(request), "account": request.account} for request in self._provider.book.requests()
        ]
        return web.json_response({"requests": answers})

    async def stats(self, _: web.Request) -> web.Response:
        """Counts of what callers did. Polls, refused credentials and downloads count from the start of the process."""
        book = self._provider.book
        return web.json_response(
            {
                "sandbox": True,
                "posts": len(book.posts()),
                "offers": book.settlements.offers_made,
                "payments": len(book.settlements.all()),
                "requests": len(book.requests()),
                "in_flight": book.in_flight(self._provider.clock()),
                "max_in_flight": book.max_in_flight,
                **asdict(self._provider.counters),
            }
        )


def _canonical(amounts: Mapping[str, Decimal]) -> dict[str, str]:
    return {name: canonical(amount) for name, amount in amounts.items()}


def _entry_document(entry: Entry) -> dict[str, object]:
    amounts = {"credits": canonical(entry.credits), "usdc": canonical(entry.usdc)}
    return {**asdict(entry), "at": rfc3339(entry.at), "unit": unit_of(entry.account), **amounts}


def _payment_document(paid: Paid) -> dict[str, object]:
    payment = paid.payment
    return {
        "at": rfc3339(payment.at),
        "purpose": paid.purpose,
        "request_id": paid.request_id or paid.charge_id,
        "network": payment.network,
        "payer": payment.payer,
        "amount": str(payment.amount),
        "amount_usdc": canonical(from_atomic(payment.amount)),
        "credited_usdc": optional_canonical(paid.credited),
        "nonce": payment.nonce,
        "transaction": payment.transaction,
        "path": payment.path,
        "body_sha256": payment.body_sha256,
    }
