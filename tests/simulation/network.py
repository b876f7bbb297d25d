"""Between a worker and the provider: latency, and every way in which a connection can go wrong.

What stands in for the network carries what the real clients say: the provider's, the chains' and the downloads'.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from types import SimpleNamespace
from typing import Any

import aiohttp
import httpx

from orchestrator.katana import verdict as katana
from orchestrator.katana.carrier import Request

from .site import Call, ProviderSite, Reply, later
from .virtual import Killed, VirtualLoop

_LATENCY_SECONDS = (0.001, 0.15)
_ASSET_TIMEOUT_SECONDS = 60.0


class Fate(StrEnum):
    """What becomes of one exchange on its way."""

    FINE = "fine"
    #: No connection: not a byte leaves.
    REFUSED = "refused"
    #: The request is swallowed; nobody says anything.
    REQUEST_LOST = "request-lost"
    #: The request arrives and is worked on; the answer is swallowed.
    ANSWER_LOST = "answer-lost"
    #: The request arrives and is worked on; the connection is closed before the answer.
    RESET = "reset"
    #: The answer breaks off in the middle.
    CUT = "cut"


@dataclass
class Weather:
    """How the network is: the odds of each mishap an exchange, and whether the provider can be reached at all."""

    odds: dict[Fate, float]
    is_down: bool = False

    def clear(self) -> None:
        self.odds, self.is_down = {}, False


class Network:
    """All exchanges of a simulation."""

    def __init__(self, site: ProviderSite, weather: Weather, dice: random.Random) -> None:
        self.weather = weather
        self._site = site
        self._dice = dice

    def fate(self) -> Fate:
        if self.weather.is_down:
            return Fate.REFUSED
        throw = self._dice.random()
        for fate, odds in self.weather.odds.items():
            throw -= odds
            if throw < 0:
                return fate
        return Fate.FINE

    def latency(self) -> float:
        return self._dice.uniform(*_LATENCY_SECONDS)

    def send(self, call: Call, fate: Fate) -> asyncio.Future[Reply | None]:
        """The outcome of a call: a reply, or None where the connection is closed. It may never come."""
        loop = _here()
        outcome: asyncio.Future[Reply | None] = loop.create_future()

        def answer(reply: Reply | None) -> None:
            if not outcome.done():
                outcome.set_result(reply)

        def deliver(reply: Reply | None) -> None:
            if fate is Fate.RESET:
                reply = None
            elif fate is Fate.CUT and reply is not None:
                reply = Reply(reply.status, reply.headers, reply.body[: len(reply.body) // 2], breaks_off=True)
            if fate is not Fate.ANSWER_LOST:
                later(loop, self.latency(), answer, reply)

        if fate is not Fate.REQUEST_LOST:
            later(self._site.loop, self.latency(), self._site.arrive, call, deliver)
        return outcome


def _here() -> VirtualLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    if loop.is_killed:
        raise Killed
    return loop


class Carrier:
    """The provider's API for one process."""

    def __init__(self, network: Network) -> None:
        self._network = network

    async def carry(self, request: Request) -> katana.Reply:
        fate, phase = self._network.fate(), request.phase
        await asyncio.sleep(self._network.latency())
        if fate is Fate.REFUSED:
            raise ConnectionRefusedError
        if phase is not None:
            await phase.begin()
        outcome = self._network.send(Call(request.method, request.url, request.headers, request.body), fate)
        if phase is not None:
            phase.end()
        async with asyncio.timeout(request.silence_seconds):
            reply = await outcome
        if reply is None:
            raise aiohttp.ServerDisconnectedError
        headers = {name.lower(): value for name, value in reply.headers.items()}
        return katana.Reply(reply.status, headers, None if reply.breaks_off else reply.body, reply.body)

    async def close(self) -> None:
        pass


class Transport(httpx.AsyncBaseTransport):
    """The nodes of the chains for one process."""

    def __init__(self, network: Network) -> None:
        self._network = network

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        fate = self._network.fate()
        body = await request.aread()
        await asyncio.sleep(self._network.latency())
        if fate is Fate.REFUSED:
            raise httpx.ConnectError("refused")
        try:
            async with asyncio.timeout(request.extensions.get("timeout", {}).get("read")):
                reply = await self._network.send(Call(request.method, str(request.url), request.headers, body), fate)
        except TimeoutError:
            raise httpx.ReadTimeout("silence") from None
        if reply is None or reply.breaks_off:
            raise httpx.RemoteProtocolError("closed")
        return httpx.Response(reply.status, headers=dict(reply.headers), content=reply.body)


class Assets:
    """The provider's files for one process: an `AssetSource`."""

    def __init__(self, network: Network) -> None:
        self._network = network

    @asynccontextmanager
    async def get(self, url: str) -> AsyncIterator[Any]:
        fate = self._network.fate()
        await asyncio.sleep(self._network.latency())
        if fate is Fate.REFUSED:
            raise aiohttp.ClientConnectionError("refused")
        async with asyncio.timeout(_ASSET_TIMEOUT_SECONDS):
            reply = await self._network.send(Call("GET", url, {}), fate)
        if reply is None:
            raise aiohttp.ServerDisconnectedError
        yield SimpleNamespace(status=reply.status, headers=reply.headers, content=_Content(reply))


class _Content:
    def __init__(self, reply: Reply) -> None:
        self._reply = reply

    async def iter_chunked(self, n: int) -> AsyncIterator[bytes]:
        yield self._reply.body
        if self._reply.breaks_off:
            raise aiohttp.ClientPayloadError("closed in the middle")
