"""What carries requests to the provider: aiohttp, which under load costs a fraction of httpx (docs/performance.md).

What pays opens a fresh connection for every POST: a kept-alive one that the server is just closing would leave a paid
request in doubt. What reads keeps its connections.
"""

import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Protocol

import httpx
from aiohttp import (
    ClientConnectionError,
    ClientConnectorError,
    ClientError,
    ClientHttpProxyError,
    ClientResponse,
    ClientResponseError,
    ClientSession,
    ClientTimeout,
    ConnectionTimeoutError,
    DummyCookieJar,
    TCPConnector,
    TraceConfig,
    TraceRequestHeadersSentParams,
)
from yarl import URL

from orchestrator.base.proxies import credentials_apart, proxy_for
from orchestrator.katana.phase import Phase
from orchestrator.katana.verdict import Reply

#: What can break an exchange.
BROKEN = (ClientError, OSError, TimeoutError)
#: More than this of an answer is not read.
_MAX_BODY_BYTES = 16 * 1024 * 1024
#: Of a header: payments and policies have long ones.
_LONGEST_HEADER_BYTES = 64 * 1024
_PIECE_BYTES = 256 * 1024
_CONNECT_SECONDS = 10.0
#: Nothing is heard of a paid request for so long while it is worked on; of another it is a fault.
_PAY_SILENCE_SECONDS = 150.0
_READ_SILENCE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Request:
    """A request to an absolute `url`, which is sent as it is. One that may be paid for has a `phase`."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes = b""
    phase: Phase | None = None

    @property
    def silence_seconds(self) -> float:
        """How long nothing may come."""
        return _READ_SILENCE_SECONDS if self.phase is None else _PAY_SILENCE_SECONDS


class Carrier(Protocol):
    """The way to the provider: the network, or what stands in for it."""

    async def carry(self, request: Request) -> Reply:
        """The answer, and the request's phase told how far it got. Raises one of BROKEN, and what the phase raises."""
        ...

    async def close(self) -> None:
        """Let go of its connections."""
        ...


class HttpCarrier:
    """HTTP/1.1 to one origin; for one event loop."""

    def __init__(self, base_url: str) -> None:
        self._tls = _tls() if base_url.startswith("https:") else True
        proxy = proxy_for(base_url)
        self._proxy: tuple[str | None, Mapping[str, str] | None] = credentials_apart(proxy) if proxy else (None, None)
        self._pay: ClientSession | None = None
        self._read: ClientSession | None = None

    async def carry(self, request: Request) -> Reply:
        """See Carrier."""
        if request.phase is None:
            return await self._exchange(self._reading(), request, None)
        return await self._exchange(self._paying(), request, _in_pieces(request.body, request.phase))

    async def close(self) -> None:
        """See Carrier."""
        for session in (self._pay, self._read):
            if session is not None:
                await session.close()

    async def _exchange(self, session: ClientSession, request: Request, body: AsyncIterator[bytes] | None) -> Reply:
        async with session.request(
            request.method,
            URL(request.url, encoded=True),
            data=body,
            headers=request.headers,
            allow_redirects=False,
            proxy=self._proxy[0],
            proxy_headers=self._proxy[1],
            trace_request_ctx=request.phase,
        ) as response:
            return await _whole_reply(response)

    def _paying(self) -> ClientSession:
        if self._pay is None:
            told = TraceConfig()
            told.on_request_headers_sent.append(_begin)  # awaited right before the first byte is written
            connector = TCPConnector(ssl=self._tls, force_close=True, limit=0)
            self._pay = _session(connector, _PAY_SILENCE_SECONDS, [told])
        return self._pay

    def _reading(self) -> ClientSession:
        if self._read is None:
            self._read = _session(TCPConnector(ssl=self._tls, limit=64), _READ_SILENCE_SECONDS)
        return self._read


def _session(connector: TCPConnector, silence_seconds: float, told: list[TraceConfig] | None = None) -> ClientSession:
    timeout = ClientTimeout(
        total=None, connect=_CONNECT_SECONDS, sock_connect=_CONNECT_SECONDS, sock_read=silence_seconds
    )
    return ClientSession(
        connector=connector,
        timeout=timeout,
        trace_configs=told,
        cookie_jar=DummyCookieJar(),
        max_line_size=_LONGEST_HEADER_BYTES,
        max_field_size=_LONGEST_HEADER_BYTES,
    )


async def _begin(_: ClientSession, trace: SimpleNamespace, __: TraceRequestHeadersSentParams) -> None:
    phase = trace.trace_request_ctx
    assert isinstance(phase, Phase)
    await phase.begin()


async def _in_pieces(body: bytes, phase: Phase) -> AsyncIterator[bytes]:
    """A body of many megabytes in one piece would hold up all else that this process does."""
    for start in range(0, len(body), _PIECE_BYTES):
        yield body[start : start + _PIECE_BYTES]
    phase.end()


async def _whole_reply(response: ClientResponse) -> Reply:
    """The whole response; a body that breaks off or is absurdly large is None, the status still counts."""
    came = bytearray()
    is_whole = True
    try:
        async for chunk in response.content.iter_any():
            came += chunk
            if len(came) > _MAX_BODY_BYTES:
                is_whole = False
                break
    except BROKEN:
        is_whole = False
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Reply(response.status, headers, bytes(came) if is_whole else None, bytes(came))


def _tls() -> ssl.SSLContext:
    """It heeds SSL_CERT_FILE; we speak HTTP/1.1 only."""
    context = httpx.create_ssl_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


def failure_words(error: Exception) -> str:
    """What broke, without the words of the libraries in between where they mislead."""
    if isinstance(error, ClientConnectorError | ConnectionTimeoutError):
        return "cannot connect"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ClientHttpProxyError):
        return f"the proxy answered HTTP {error.status}"
    if isinstance(error, ClientResponseError):
        return "the answer is not HTTP"
    if isinstance(error, ClientConnectionError):
        return f"the connection broke off ({type(error).__name__})"
    return f"{type(error).__name__}: {error}".rstrip(": ")
