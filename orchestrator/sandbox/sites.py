"""The two aiohttp sites of a sandbox, in an event loop and a thread of their own."""

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from aiohttp import web

from orchestrator.sandbox.api import Api
from orchestrator.sandbox.asset_site import AssetSite, Draw
from orchestrator.sandbox.chat import Chat
from orchestrator.sandbox.control import Control
from orchestrator.sandbox.misbehave import Instead
from orchestrator.sandbox.ports import Listeners
from orchestrator.sandbox.problems import Problem
from orchestrator.sandbox.provider import Provider
from orchestrator.sandbox.render import render
from orchestrator.sandbox.rpc import RpcSite
from orchestrator.sandbox.wallet_site import WalletSite

_LARGEST_BODY_BYTES = 256 * 1024 * 1024
_SHUTDOWN_SECONDS = 0.2
_START_STOP_SECONDS = 30.0

T = TypeVar("T")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Sites:
    """Serves `provider` on `listeners` from the moment it is made until `stop`."""

    def __init__(self, provider: Provider, listeners: Listeners) -> None:
        self.listeners = listeners
        self.provider = provider
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="sandbox", daemon=True)
        self._thread.start()
        self._runners = self._run(self._open())

    def stop(self) -> None:
        """Closes both ports; answers that are still slow are cut off."""
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _open(self) -> list[web.AppRunner]:
        return [
            await _serve(api_application(self.provider), self.listeners.api),
            await _serve(asset_application(self.provider), self.listeners.assets),
        ]

    async def _close(self) -> None:
        for runner in self._runners:
            await runner.cleanup()
        await self._loop.shutdown_default_executor()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_START_STOP_SECONDS)


def api_application(provider: Provider) -> web.Application:
    """The provider's API, endpoints of the chains that it is paid on, and what tests read and set."""
    sites = (Api(provider), Chat(provider), WalletSite(provider), RpcSite(provider), Control(provider))
    return _application([route for site in sites for route in site.routes()])


def asset_application(provider: Provider, draw: Draw = render) -> web.Application:
    """The origin that assets are downloaded from; `draw` makes their bytes."""
    return _application(AssetSite(provider, draw).routes())


def _application(routes: list[web.RouteDef]) -> web.Application:
    application = web.Application(middlewares=[_answer_problems], client_max_size=_LARGEST_BODY_BYTES)
    application.add_routes(routes)
    application.on_response_prepare.append(_mark)
    return application


async def _serve(application: web.Application, listener: socket.socket) -> web.AppRunner:
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=_SHUTDOWN_SECONDS)
    await runner.setup()
    await web.SockSite(runner, listener).start()
    return runner


@web.middleware
async def _answer_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except Problem as problem:
        return problem.response()
    except Instead as instead:
        return instead.response
    except web.HTTPException as error:
        return Problem(error.status, "http_error", f"sandbox: {error.reason}").response()


async def _mark(_: web.Request, response: web.StreamResponse) -> None:
    response.headers["X-Sandbox"] = "1"
