"""How faults look on the wire."""

import asyncio
from datetime import UTC, datetime
from email.utils import format_datetime

from aiohttp import web

from orchestrator.sandbox.faults import FaultRule
from orchestrator.sandbox.problems import Problem


class Instead(Exception):
    """Ends a call with `response` in place of the answer it would have had."""

    def __init__(self, response: web.StreamResponse) -> None:
        super().__init__()
        self.response = response


HTML_PAGE = "<!doctype html><title>sandbox</title><h1>502 Bad Gateway (sandbox)</h1>"
_ABSURD_SECONDS = 86_400
_CODES = {
    401: "unauthorized",
    402: "payment_required",
    403: "forbidden",
    404: "not_found",
    429: "rate_limited",
    500: "internal_error",
}


def raise_status(rule: FaultRule, now: float) -> None:
    """Raises the Problem that a rule named by a status stands for (`429`, `500-after-charge`); else does nothing."""
    word = rule.kind.partition("-")[0]
    if not word.isdigit() or int(word) not in _CODES:
        return
    status = int(word)
    headers = _retry_after(rule, now) if status == 429 else None
    raise Problem(status, _CODES[status], f"sandbox: {rule.kind} on demand", headers)


def html_page(status: int) -> Instead:
    """What a proxy in front of the API answers."""
    return Instead(web.Response(status=status, text=HTML_PAGE, content_type="text/html"))


def hung_up(request: web.BaseRequest) -> Instead:
    """Closes the connection; the response that goes with it can no longer be written."""
    if request.transport is not None:
        request.transport.close()
    return Instead(web.Response())


def part_sent(request: web.BaseRequest, body: bytes, content_type: str, *, length: bool) -> Instead:
    """Sends the first half of a body and closes, with or without announcing the whole length."""
    announced = f"Content-Length: {len(body)}\r\n" if length else ""
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\n{announced}X-Sandbox: 1\r\nConnection: close\r\n\r\n"
    if request.transport is not None:
        request.transport.write(head.encode() + body[: len(body) // 2])
    return hung_up(request)


def corrupted(body: bytes) -> bytes:
    """The body with noise all over its second quarter; its length and its first bytes are right."""
    start, end = len(body) // 4, len(body) // 2
    return body[:start] + bytes(byte ^ 0xA5 for byte in body[start:end]) + body[end:]


async def before_charge(rule: FaultRule | None, request: web.BaseRequest, now: float) -> None:
    """The faults of a paid call that strike before anything is charged. Raises Problem or Instead."""
    if rule is None or rule.kind == "slow" or "-after-" in rule.kind:
        return
    if rule.kind == "502-html":
        raise html_page(502)
    await befall(rule, request, now)


async def after_charge(rule: FaultRule | None, request: web.BaseRequest, now: float) -> None:
    """The faults of a paid call that strike when everything is charged and only the answer is left to be sent.

    `slow` waits here: the work is paid for and on its way while the caller still waits for the answer.
    """
    if rule is None:
        return
    if rule.kind == "502-html-after-charge":
        raise html_page(502)
    if rule.kind == "garbage":
        raise Instead(web.Response(text='{"request_id": "sandb', content_type="application/json"))
    await befall(rule, request, now)


async def befall(rule: FaultRule, request: web.BaseRequest, now: float) -> None:
    """The faults that every place knows: a status, a closed connection, slowness. Raises Problem or Instead."""
    raise_status(rule, now)
    if rule.kind.startswith("drop"):
        raise hung_up(request)
    if rule.kind == "slow":
        await asyncio.sleep(rule.seconds)


def _retry_after(rule: FaultRule, now: float) -> dict[str, str]:
    match rule.retry_after:
        case "absent":
            return {}
        case "absurd":
            return {"Retry-After": str(_ABSURD_SECONDS)}
        case "http-date":
            at = datetime.fromtimestamp(now + rule.seconds, UTC)
            return {"Retry-After": format_datetime(at, usegmt=True)}
        case seconds:
            return {"Retry-After": f"{seconds:g}"}
