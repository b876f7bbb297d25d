"""The line to the provider: our credentials go out on it, and none of them comes back in what is kept of an answer.

Nothing here tries a POST again, nor a GET but for what was refused (401) with a wallet's proof that may be stale.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from orchestrator.base import faults
from orchestrator.base.clock import Clock
from orchestrator.base.retry_after import retry_after_seconds
from orchestrator.katana.carrier import BROKEN, Carrier, Request, failure_words
from orchestrator.katana.credentials import joined, scrubbed
from orchestrator.katana.phase import Phase, TooLate
from orchestrator.katana.problem import read_problem
from orchestrator.katana.verdict import Reply
from orchestrator.katana.wire import parse_object

#: A paid POST is over after this long, whatever happens; its lease lasts longer.
PAY_DEADLINE_SECONDS = 240.0
_READ_DEADLINE_SECONDS = 90.0
#: Our clock is put right for wallet proofs where it is further than this from the provider's `Date`.
_TOLERABLE_SKEW = timedelta(seconds=30)


class ProviderUnavailable(Exception):
    """A read did not work: no answer (`status` None) or one that is not what was asked for."""

    def __init__(self, reason: str, *, status: int | None = None, retry_after_seconds: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status
        self.retry_after_seconds = retry_after_seconds


@dataclass(frozen=True, slots=True)
class Exchange:
    """What became of a POST: its answer, or what broke in words, and whether a byte of it may have left."""

    reply: Reply | None
    failure: str | None
    sending_began: bool
    #: It was not tried: our own time for it was over.
    is_late: bool = False


class Line:
    """Requests to one base URL with one set of headers.

    `proof` makes further headers, anew for each call, as of the provider's time: a wallet's proof goes stale.
    """

    def __init__(
        self,
        base_url: str,
        headers: Mapping[str, str],
        carrier: Carrier,
        clock: Clock,
        proof: Callable[[datetime], Mapping[str, str]] | None,
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._headers = {"User-Agent": "katana-orchestrator", "Accept": "application/json", **headers}
        self._credentials = tuple(headers.values())
        self._carrier = carrier
        self._clock = clock
        self._proof = proof
        self._skew = timedelta()
        #: How far the provider's clock was ahead of ours, by the `Date` of its last answer; None before there is one.
        self.provider_ahead: timedelta | None = None

    async def close(self) -> None:
        """Let go of its connections."""
        await self._carrier.close()

    async def post(
        self,
        name: str,
        path: str,
        body: bytes,
        headers: Mapping[str, str],
        send_before: datetime | None = None,
        leave: Callable[[], Awaitable[None]] | None = None,
        *,
        is_text: bool = False,
    ) -> Exchange:
        """One POST with these headers besides; `name` is that of its boundaries (see base.faults).

        `leave` is awaited on the open connection right before the first byte; what it raises is raised.
        """
        length = {"Content-Type": "application/json", "Content-Length": str(len(body))}
        deadline = asyncio.timeout(None)
        phase = Phase(name, self._clock, deadline, PAY_DEADLINE_SECONDS, send_before=send_before, leave=leave)
        try:
            async with deadline:
                request = self._request("POST", path, {**length, **headers}, body, phase, is_text=is_text)
                reply = await self._carrier.carry(request)
        except TooLate as error:
            return Exchange(None, str(error), phase.sending_began, is_late=True)
        except BROKEN as error:
            return Exchange(None, failure_words(error), phase.sending_began)
        return Exchange(self._read_reply(reply, headers), None, phase.sending_began)

    def _request(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes = b"",
        phase: Phase | None = None,
        *,
        is_text: bool,
    ) -> Request:
        """To the provider, with its credentials as it wants them; texts are asked for with others."""
        whole = {**self._headers, **headers}
        return Request(method, self._base_url + path, joined(whole) if is_text else whole, body, phase)

    def _read_reply(self, reply: Reply, headers: Mapping[str, str]) -> Reply:
        """An answer to a request with these headers besides."""
        return self._heed_date(scrubbed(reply, [*self._credentials, *headers.values()]))

    async def get(self, path: str, *, is_text: bool = False) -> Reply:
        """A readable answer to a GET. Raises ProviderUnavailable."""
        reply = await self._ask(path, is_text=is_text)
        if self.is_stale(reply.status):
            reply = await self._ask(path, is_text=is_text)
        if reply.status != 200:
            problem = read_problem(parse_object(reply.body or b""))
            said = f": {problem.message}" if problem else ""
            raise ProviderUnavailable(
                f"HTTP {reply.status}{said}",
                status=reply.status,
                retry_after_seconds=retry_after_seconds(reply.headers.get("retry-after"), self._clock),
            )
        return reply

    async def _ask(self, path: str, *, is_text: bool) -> Reply:
        proof = self.proven()
        try:
            faults.point("ask.request")
            async with asyncio.timeout(_READ_DEADLINE_SECONDS):
                reply = await self._carrier.carry(self._request("GET", path, proof, is_text=is_text))
            faults.point("ask.answered")
        except BROKEN as error:
            raise ProviderUnavailable(failure_words(error)) from None
        return self._read_reply(reply, proof)

    def proven(self) -> Mapping[str, str]:
        """The headers of a fresh proof, where one is made."""
        return self._proof(self._clock.now() + self._skew) if self._proof is not None else {}

    def is_stale(self, status: int | None) -> bool:
        """Whether a refusal may be about our proof alone: once more with a fresh one, by the provider's clock."""
        return self._proof is not None and status == HTTPStatus.UNAUTHORIZED

    def _heed_date(self, reply: Reply) -> Reply:
        """Take over the provider's time from the `Date` of an answer, where ours is off."""
        try:
            told = parsedate_to_datetime(reply.headers.get("date", ""))
        except (ValueError, OverflowError):
            return reply
        ahead = told.replace(tzinfo=told.tzinfo or UTC) - self._clock.now()
        self.provider_ahead = ahead
        self._skew = ahead if abs(ahead) > _TOLERABLE_SKEW else timedelta()
        return reply
