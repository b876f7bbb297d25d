"""The API's routes over HTTP, as the guide describes them."""

import asyncio

from aiohttp import web

from orchestrator.sandbox.cashier import Purchase
from orchestrator.sandbox.customers import Customer, carried, direct
from orchestrator.sandbox.faults import FaultRule, Place
from orchestrator.sandbox.flow import finished_at
from orchestrator.sandbox.inputs import Item
from orchestrator.sandbox.judge import Judgement
from orchestrator.sandbox.listing import models_document
from orchestrator.sandbox.misbehave import befall, before_charge, html_page
from orchestrator.sandbox.payment import Payment
from orchestrator.sandbox.problems import Problem
from orchestrator.sandbox.provider import Provider, purchase, repriced, total
from orchestrator.sandbox.records import RequestAccepted
from orchestrator.sandbox.submission import read_submission
from orchestrator.sandbox.till import Till, factor_of, receipt_header


class Api:
    """Handlers of `/v1`; `routes` lists them."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._till = Till(provider)

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/v1/generation-requests", self.submit),
            web.get("/v1/generation-requests/{request_id}", self.poll),
            web.get("/v1/me/balance", self.balance),
            web.get("/v1/models", self.models),
        ]

    async def submit(self, request: web.Request) -> web.Response:
        """Judges, charges and accepts. A fault strikes either before anything is charged or after everything is."""
        body = await request.read()
        if carried(request.headers) is None:
            raise await self._offer(request, body)
        self._provider.note_post(body)
        fault = self._provider.faults.strike("submit", body.decode("utf-8", "replace"))
        await before_charge(fault, request, self._provider.clock())
        payer = await self._till.payer(request)
        verdicts = repriced(await self._judge(request, body), factor_of(fault))
        bought = purchase(request.path, body, total(verdicts))
        accepted = self._accept(bought, payer, verdicts, fault)
        await self._till.after(request, bought, fault)
        if request.query.get("wait") == "true":
            await asyncio.sleep(max(0.0, finished_at(accepted) - self._provider.clock()))
        return web.json_response(self._provider.answer(accepted), headers=receipt_header(accepted.payment, fault))

    async def _offer(self, request: web.Request, body: bytes) -> Problem:
        """What a call without credentials is told: the price. Nothing is sold of which no item is valid."""
        fault = await self._till.strike_offer(request, body)
        verdicts = repriced(await self._judge(request, body), factor_of(fault))
        refused = next((verdict.error for verdict in verdicts if verdict.error is not None), None)
        if refused is not None and all(verdict.error is not None for verdict in verdicts):
            return Problem(400, refused.code, refused.message)
        return self._till.offer(purchase(request.path, body, total(verdicts)), fault)

    def _accept(
        self, bought: Purchase, payer: Customer | Payment, verdicts: list[Judgement], fault: FaultRule | None
    ) -> RequestAccepted:
        payment = None
        if isinstance(payer, Payment):
            earlier = self._provider.cashier.replayed(payer, bought)
            found = None if earlier is None else self._provider.book.request(earlier.request_id or "")
            if found is not None:
                return found
            payment = self._till.settle(payer, bought, fault)
            payer = direct(payer.network, payer.payer)
        fail_every_second = fault is not None and fault.kind == "partial-failure"
        return self._provider.submit(
            payer, verdicts, bought.body_sha256, payment=payment, fail_every_second=fail_every_second
        )

    async def poll(self, request: web.Request) -> web.Response:
        """The request as it stands now."""
        self._provider.counters.polls += 1
        fault = await self._strike("poll", request)
        customer = await self._till.customer(request)
        accepted = self._provider.find(request.match_info["request_id"], customer)
        return web.json_response(_distorted(self._provider.answer(accepted), fault))

    async def balance(self, request: web.Request) -> web.Response:
        """Credits as a string with one decimal place (guide, "Credits / API key examples")."""
        await self._strike("balance", request)
        account = self._till.account(request)
        if account is None:
            self._provider.counters.auth_failures += 1
            raise Problem(401, "unauthorized", "sandbox: credentials are required")
        balance = self._provider.balance(account)
        return web.json_response({"credits": f"{balance:.1f}"})

    async def models(self, request: web.Request) -> web.Response:
        """The catalogue; needs no credentials."""
        fault = await self._strike("models", request)
        if fault is not None and fault.kind == "html":
            raise html_page(200)
        return web.json_response(models_document(self._provider.catalog))

    async def _strike(self, at: Place, request: web.Request) -> FaultRule | None:
        fault = self._provider.faults.strike(at, request.path)
        if fault is not None:
            await befall(fault, request, self._provider.clock())
        return fault

    async def _judge(self, request: web.Request, body: bytes) -> list[Judgement]:
        items = read_submission(body, request.content_type)
        return await asyncio.to_thread(self._judge_all, items)

    def _judge_all(self, items: list[Item]) -> list[Judgement]:
        return [self._provider.judge.judge(item) for item in items]


def _distorted(answer: dict[str, object], fault: FaultRule | None) -> dict[str, object]:
    """The answer to a poll with a fault in its body."""
    kind = None if fault is None else fault.kind
    if kind == "unknown-status":
        return {**answer, "status": "sandbox_undocumented"}
    if kind == "missing-responses":
        return {key: value for key, value in answer.items() if key != "responses"}
    responses = answer["responses"]
    assert isinstance(responses, list)
    for response in responses:
        if kind == "no-assets":
            response["output_assets"] = []
        if kind == "no-original":
            for asset in response["output_assets"]:
                del asset["original_data_url"]
    return answer
