"""The API's routes over HTTP, as the guide describes them."""

import asyncio
from decimal import Decimal

from aiohttp import web

from orchestrator.base.money import ZERO
from orchestrator.sandbox import x402
from orchestrator.sandbox.accounts import BadCredentials
from orchestrator.sandbox.faults import FaultRule, Place
from orchestrator.sandbox.flow import finished_at
from orchestrator.sandbox.inputs import Item
from orchestrator.sandbox.judge import Verdict
from orchestrator.sandbox.listing import models_document
from orchestrator.sandbox.misbehave import Instead, befall, html_page
from orchestrator.sandbox.problems import Problem
from orchestrator.sandbox.provider import Provider
from orchestrator.sandbox.submission import read_submission


class Api:
    """Handlers of `/v1`; `routes` lists them."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

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
        digest = self._provider.note_post(body)
        fault = self._provider.faults.strike("submit", body.decode("utf-8", "replace"))
        await _before_charge(fault, request, self._provider.clock())
        account = self._identify(request)
        items = read_submission(body, request.content_type)
        verdicts = await asyncio.to_thread(self._judge_all, items)
        if account is None:
            raise _payment_required(verdicts)
        partial = fault is not None and fault.kind == "partial-failure"
        factor = fault.factor if fault is not None else Decimal(1)
        accepted = self._provider.submit(account, verdicts, digest, fail_every_second=partial, price_factor=factor)
        await _after_charge(fault, request, self._provider.clock())
        if request.query.get("wait") == "true":
            await asyncio.sleep(max(0.0, finished_at(accepted) - self._provider.clock()))
        return web.json_response(self._provider.answer(accepted))

    async def poll(self, request: web.Request) -> web.Response:
        """The request as it stands now."""
        self._provider.counters.polls += 1
        fault = await self._strike("poll", request)
        accepted = self._provider.find(request.match_info["request_id"], self._require_account(request))
        return web.json_response(_distorted(self._provider.answer(accepted), fault))

    async def balance(self, request: web.Request) -> web.Response:
        """Credits as a string with one decimal place (guide, "Credits / API key examples")."""
        await self._strike("balance", request)
        balance = self._provider.balance(self._require_account(request))
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

    def _judge_all(self, items: list[Item]) -> list[Verdict]:
        return [self._provider.judge.judge(item) for item in items]

    def _identify(self, request: web.Request) -> str | None:
        try:
            return self._provider.accounts.identify(request.headers)
        except BadCredentials:
            self._provider.counters.auth_failures += 1
            raise Problem(401, "unauthorized", "sandbox: these credentials open no account") from None

    def _require_account(self, request: web.Request) -> str:
        account = self._identify(request)
        if account is None:
            self._provider.counters.auth_failures += 1
            raise Problem(401, "unauthorized", "sandbox: credentials are required")
        return account


async def _before_charge(fault: FaultRule | None, request: web.Request, now: float) -> None:
    if fault is None or fault.kind == "slow" or fault.kind.endswith("-after-charge"):
        return
    if fault.kind == "502-html":
        raise html_page(502)
    await befall(fault, request, now)


async def _after_charge(fault: FaultRule | None, request: web.Request, now: float) -> None:
    """`slow` waits here: the work is paid for and on its way while the caller still waits for the answer."""
    if fault is None:
        return
    if fault.kind == "502-html-after-charge":
        raise html_page(502)
    if fault.kind == "garbage":
        raise Instead(web.Response(text='{"request_id": "sandb', content_type="application/json"))
    await befall(fault, request, now)


def _payment_required(verdicts: list[Verdict]) -> Problem:
    requirement = x402.payment_required(sum((verdict.credits for verdict in verdicts), ZERO))
    headers = {"PAYMENT-REQUIRED": x402.header(requirement)}
    return Problem(402, "payment_required", "sandbox: payment required", headers)


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
