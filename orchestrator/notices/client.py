"""Sending one notification. Nothing here tries anything again, and nothing shows a URL: it is as good as a password."""

import asyncio
import ssl
from dataclasses import dataclass
from functools import cached_property

import httpx

from orchestrator.base.clock import SYSTEM_CLOCK, Clock
from orchestrator.base.notices import may_be_sent_to
from orchestrator.base.proxies import proxy_for
from orchestrator.notices.message import Message, Notice, message_of

#: Whoever takes longer has not taken it.
DEADLINE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """`problem`: why it was not taken (None: it was). `is_final`: another try would end the same way."""

    problem: str | None = None
    is_final: bool = False


class NoticeClient:
    """Sends notices, signed with `signing_key` where there is one."""

    def __init__(self, signing_key: bytes | None, clock: Clock = SYSTEM_CLOCK) -> None:
        self._signing_key = signing_key
        self._clock = clock

    async def send(self, notice: Notice) -> Outcome:
        """Send a notice once: only 2xx within 10 seconds counts, and redirects are not followed. Raises nothing."""
        if not may_be_sent_to(notice.url):
            return Outcome("only https:// URLs are sent to (http:// on this machine)", is_final=True)
        message = message_of(notice, self._clock.now(), self._signing_key)
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                status = await self._status(notice.url, message)
        except TimeoutError:
            return Outcome(f"no answer within {DEADLINE_SECONDS:g} seconds")
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            return Outcome(_in_words(error))
        return Outcome() if 200 <= status < 300 else Outcome(f"HTTP {status}")

    async def _status(self, url: str, message: Message) -> int:
        """Past httpx's client, which would write the whole URL into its log."""
        headers = {"User-Agent": "katana-orchestrator"} | message.headers
        request = httpx.Request(message.method, url, headers=headers, content=message.content)
        async with httpx.AsyncHTTPTransport(verify=self._tls, proxy=proxy_for(url), trust_env=False) as transport:
            response = await transport.handle_async_request(request)
            await response.aclose()
        return response.status_code

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return httpx.create_ssl_context()


def _in_words(error: Exception) -> str:
    """What broke; of the library's words only those about the connection, which tell no more of a URL than its host."""
    if isinstance(error, httpx.ConnectError):
        return f"cannot connect: {error}".rstrip(": ")
    return f"the connection broke: {type(error).__name__}"
