"""One exchange over HTTP: how requests are carried, when their first byte leaves, and the whole of what comes back.

What pays opens a fresh connection for every POST: a kept-alive one that the server is just closing would leave a paid
request in doubt.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any

import httpx
from httpx_aiohttp import AiohttpTransport

from orchestrator.base import faults
from orchestrator.base.clock import Clock
from orchestrator.base.logs import MASK, written
from orchestrator.base.proxies import proxy_for
from orchestrator.katana.verdict import Reply

#: More than this of an answer is not read.
_MAX_BODY_BYTES = 16 * 1024 * 1024
#: What is shorter is no credential that anybody has, and may stand in any answer.
_SHORTEST_SECRET = 8
#: Where an answer tells what went wrong, of a request or of one of its items.
_ERRORS = frozenset({"error", "errors", "detail"})


class TooLate(OSError):
    """A POST was not sent, because the time for it is over."""


class Phase:
    """Notes when the first byte of the request may leave, from httpcore's trace events; too late it may not."""

    def __init__(self, name: str, clock: Clock, send_before: datetime | None) -> None:
        self._name = name
        self._clock = clock
        self._send_before = send_before
        self.sending_began = False

    async def trace(self, event: str, info: dict[str, Any]) -> None:
        if event.endswith("send_request_headers.started"):
            request = info.get("request")
            if request is None or request.method != b"CONNECT":  # a proxy's tunnel carries nothing of ours yet
                if self._send_before is not None and self._clock.now() >= self._send_before:
                    raise TooLate("its time to be sent is over")
                self.sending_began = True
                faults.point(f"{self._name}.request")
        elif event.endswith("send_request_body.complete"):
            faults.point(f"{self._name}.sent")


def pay_transport(base_url: str) -> httpx.AsyncBaseTransport:
    """Carries what pays: every request on a connection of its own."""
    return httpx.AsyncHTTPTransport(
        proxy=proxy_for(base_url),
        verify=httpx.create_ssl_context(),  # heeds SSL_CERT_FILE, unlike a client without trust_env
        trust_env=False,
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
    )


def read_transport(base_url: str) -> httpx.AsyncBaseTransport:
    """Carries what reads."""
    proxy = proxy_for(base_url)
    return AiohttpTransport(limits=httpx.Limits(max_connections=64), proxy=httpx.Proxy(proxy) if proxy else None)


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
    except (httpx.HTTPError, httpx.StreamError, OSError, TimeoutError):
        body = None
    finally:
        await response.aclose()
    return Reply(response.status_code, {k.lower(): v for k, v in response.headers.items()}, body, b"".join(chunks))
