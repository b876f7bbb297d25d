"""JSON-RPC over HTTP: the endpoints of the two virtual chains, `/rpc/base` and `/rpc/solana`."""

from collections.abc import Callable
from typing import Any

from aiohttp import web
from pydantic_core import from_json

from orchestrator.base.payments import Network
from orchestrator.sandbox.chains import View
from orchestrator.sandbox.faults import FaultRule
from orchestrator.sandbox.misbehave import Instead, befall, html_page
from orchestrator.sandbox.provider import Provider

Answer = Callable[[View, str, list[Any]], object]


class RpcError(Exception):
    """A call that cannot be answered, with JSON-RPC's code for it."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def invalid_params(what: str) -> RpcError:
    return RpcError(-32602, f"invalid params: {what}")


def no_such_method(method: str) -> RpcError:
    return RpcError(-32601, f"sandbox: no method {method}")


class RpcSite:
    """Handlers of `/rpc`; `routes` lists them. Blocks follow the clock; in them is what was settled."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/rpc/base", self.base), web.post("/rpc/solana", self.solana)]

    async def base(self, request: web.Request) -> web.Response:
        from orchestrator.sandbox.base_rpc import answer

        return await self._answer(request, Network.BASE, answer)

    async def solana(self, request: web.Request) -> web.Response:
        from orchestrator.sandbox.solana_rpc import answer

        return await self._answer(request, Network.SOLANA, answer)

    async def _answer(self, request: web.Request, network: Network, answer: Answer) -> web.Response:
        body = await request.read()
        fault = self._provider.faults.strike("rpc", f"{request.path} {body.decode('utf-8', 'replace')}")
        if fault is not None:
            await self._befall(fault, request)
        view = self._view(network, fault)
        try:
            calls = from_json(body)
        except ValueError:
            return web.json_response(_error(None, RpcError(-32700, "parse error")))
        if isinstance(calls, list):
            return web.json_response([_result(call, view, answer) for call in calls])
        return web.json_response(_result(calls, view, answer))

    async def _befall(self, fault: FaultRule, request: web.Request) -> None:
        if fault.kind == "html":
            raise html_page(200)
        if fault.kind == "garbage":
            raise Instead(web.Response(text='{"jsonrpc": "2.0", "resu', content_type="application/json"))
        await befall(fault, request, self._provider.clock())

    def _view(self, network: Network, fault: FaultRule | None) -> View:
        """What an endpoint sees: a lagging one is behind, a lying one knows of no payment."""
        kind = None if fault is None else fault.kind
        now = self._provider.clock() - (fault.seconds if fault is not None and kind == "lagging" else 0.0)
        settlements = self._provider.book.settlements
        payments = [] if kind == "lying" else settlements.settled(network, now)
        return View(now, payments, settlements.has_token_account(now))


def _result(call: object, view: View, answer: Answer) -> dict[str, object]:
    if not isinstance(call, dict) or not isinstance(call.get("method"), str):
        return _error(None, RpcError(-32600, "invalid request"))
    params = call.get("params", [])
    try:
        if not isinstance(params, list):
            raise invalid_params("they must be an array")
        return {"jsonrpc": "2.0", "id": call.get("id"), "result": answer(view, call["method"], params)}
    except RpcError as error:
        return _error(call.get("id"), error)


def _error(number: object, error: RpcError) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": number, "error": {"code": error.code, "message": error.message}}
