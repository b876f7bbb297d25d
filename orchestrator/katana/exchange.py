"""One exchange over HTTP: how requests are carried, when their first byte leaves, and the whole of what comes back.

What pays opens a fresh connection for every POST: a kept-alive one that the server is just closing would leave a paid
request in doubt.
"""

import json
import ssl
from collections.abc import AsyncIterator, Callable, Iterable
from contextvars import ContextVar
from dataclasses import replace
from datetime import datetime
from typing import Any

import httpx
from aiohttp import (
    ClientConnectionError,
    ClientConnectorError,
    ClientError,
    ClientResponseError,
    ClientSession,
    DummyCookieJar,
    TCPConnector,
    TraceConfig,
)
from httpx_aiohttp import AiohttpTransport

from orchestrator.base import faults
from orchestrator.base.clock import Clock
from orchestrator.base.logs import MASK, written
from orchestrator.base.proxies import proxy_for
from orchestrator.katana.verdict import Reply

#: More than this of an answer is not read.
_MAX_BODY_BYTES = 16 * 1024 * 1024
_PIECE_BYTES = 256 * 1024
#: What is shorter is no credential that anybody has, and may stand in any answer.
_SHORTEST_SECRET = 8
#: Where an answer tells what went wrong, of a request or of one of its items.
_ERRORS = frozenset({"error", "errors", "detail"})


class TooLate(Exception):
    """A POST was not sent, because the time for it is over."""


class Phase:
    """Notes when the first byte of a request may leave; too late it may not.

    It goes with a request as its extension `phase`, and whatever carries the request tells it.
    """

    def __init__(self, name: str, clock: Clock, send_before: datetime | None) -> None:
        self._name = name
        self._clock = clock
        self._send_before = send_before
        self.sending_began = False

    def begin(self) -> None:
        """From here on bytes may leave. Raises TooLate."""
        if self._send_before is not None and self._clock.now() >= self._send_before:
            raise TooLate("its time to be sent is over")
        self.sending_began = True
        faults.point(f"{self._name}.request")

    def end(self) -> None:
        """All of it has left."""
        faults.point(f"{self._name}.sent")


#: What can break an exchange; httpx-aiohttp puts most, but not all, of aiohttp's errors into httpx's.
BROKEN = (httpx.HTTPError, httpx.StreamError, ClientError, OSError, TimeoutError)
#: The phase of the request that the current task sends.
_phase: ContextVar[Phase | None] = ContextVar("phase", default=None)


class PayTransport(AiohttpTransport):
    """Carries what pays: every request on a connection of its own."""

    def get_client(self) -> ClientSession:
        told = TraceConfig()
        told.on_request_headers_sent.append(_begin)  # called right before the first byte is written
        connector = TCPConnector(ssl=self.ssl_context, force_close=True, limit=0)
        return ClientSession(connector=connector, trace_configs=[told], cookie_jar=DummyCookieJar())

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        phase = request.extensions["phase"]
        body = _in_pieces(request.content, phase)
        in_pieces = httpx.Request(
            request.method, request.url, headers=request.headers, content=body, extensions=request.extensions
        )
        outer = _phase.set(phase)
        try:
            return await super().handle_async_request(in_pieces)
        finally:
            _phase.reset(outer)


async def _begin(*_: Any) -> None:
    if (phase := _phase.get()) is not None:
        phase.begin()


async def _in_pieces(body: bytes, phase: Phase) -> AsyncIterator[bytes]:
    """A body of many megabytes in one piece would hold up all else that this process does."""
    for start in range(0, len(body), _PIECE_BYTES):
        yield body[start : start + _PIECE_BYTES]
    phase.end()


def pay_transport(base_url: str) -> httpx.AsyncBaseTransport:
    """Carries what pays."""
    proxy = proxy_for(base_url)
    return PayTransport(_tls(), proxy=httpx.Proxy(proxy) if proxy else None)


def read_transport(base_url: str) -> httpx.AsyncBaseTransport:
    """Carries what reads."""
    proxy = proxy_for(base_url)
    return AiohttpTransport(
        _tls(), limits=httpx.Limits(max_connections=64), proxy=httpx.Proxy(proxy) if proxy else None
    )


def _tls() -> ssl.SSLContext:
    """It heeds SSL_CERT_FILE; we speak HTTP/1.1 only."""
    context = httpx.create_ssl_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


def join_credentials(headers: httpx.Headers) -> None:
    """Calls about texts take key and secret as one bearer token (guide, "Text / LLM Chat Completion Basics")."""
    key, secret = headers.pop("X-API-Key", None), headers.pop("X-API-Secret", None)
    if key is not None and secret is not None:
        headers["Authorization"] = f"Bearer {key}:{secret}"


def scrubbed(reply: Reply, credentials: Iterable[str]) -> Reply:
    """An answer whose words about what went wrong echo none of the credentials: they are kept with the job, for all who
    look at that. What was paid for (ids, URLs of files, texts) stays as it came, whatever letters it has.
    """
    values = [value for value in credentials if len(value) >= _SHORTEST_SECRET]
    forms = sorted({form for value in values for form in written(value)}, key=len, reverse=True)

    def scrub(text: str) -> str:
        for form in forms:
            text = text.replace(form, MASK)
        return text

    if reply.body is None or not any(form.encode() in reply.body for form in forms):
        return reply
    if not 200 <= reply.status < 300:
        return replace(reply, body=scrub(reply.body.decode("utf-8", "replace")).encode())
    try:
        document = json.loads(reply.body)
        told = _with_errors(document, scrub)
    except (ValueError, RecursionError):
        return reply
    return reply if told == document else replace(reply, body=json.dumps(told).encode())


def _with_errors(value: Any, scrub: Callable[[str], str], *, is_error: bool = False) -> Any:
    """A JSON value with all the texts of its errors put through `scrub`."""
    if isinstance(value, str):
        return scrub(value) if is_error else value
    if isinstance(value, list):
        return [_with_errors(entry, scrub, is_error=is_error) for entry in value]
    if isinstance(value, dict):
        return {name: _with_errors(entry, scrub, is_error=is_error or name in _ERRORS) for name, entry in value.items()}
    return value


def failure_words(error: Exception) -> str:
    """What broke, without the words of the libraries in between where they mislead."""
    cause = error.__cause__
    if isinstance(cause, ClientConnectionError) and not isinstance(cause, ClientConnectorError | TimeoutError):
        return f"the connection broke off ({type(cause).__name__})"
    if isinstance(error, ClientResponseError):
        return "the answer is not HTTP"
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return "cannot connect"
    if isinstance(error, TimeoutError | httpx.TimeoutException):
        return "no answer in time"
    return f"{type(error).__name__}: {error}".rstrip(": ")


async def whole_reply(response: httpx.Response) -> Reply:
    """The whole response; a body that breaks off or is absurdly large is None, the status still counts."""
    body: bytes | None = b""
    chunks: list[bytes] = []
    try:
        async for chunk in response.aiter_bytes():
            chunks.append(chunk)
            if sum(map(len, chunks)) > _MAX_BODY_BYTES:
                raise httpx.StreamError("too large")
        body = b"".join(chunks)
    except BROKEN:
        body = None
    finally:
        await response.aclose()
    return Reply(response.status_code, {k.lower(): v for k, v in response.headers.items()}, body, b"".join(chunks))
