"""How far a request that may be paid for has got: by it is judged what became of one whose answer was lost."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from orchestrator.base import faults
from orchestrator.base.clock import Clock

#: A connection that was open for so long before anything was said may be closed at its other end.
_LONGEST_OPEN = timedelta(seconds=10)


class TooLate(Exception):
    """A POST was not sent, because the time for it is over."""


class Phase:
    """Notes when the first byte of a request may leave; whatever carries the request tells it.

    `leave` is awaited right before, on an open connection: what has to be on record by then. Where it raises, nothing
    leaves. After `send_before` nothing leaves either, nor where `leave` took too long. From the first byte on there are
    `seconds` for all the rest, by the `deadline` around it.
    """

    def __init__(
        self,
        name: str,
        clock: Clock,
        deadline: asyncio.Timeout,
        seconds: float,
        *,
        send_before: datetime | None = None,
        leave: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._name = name
        self._clock = clock
        self._deadline = deadline
        self._seconds = seconds
        self._send_before = send_before
        self._leave = leave
        self.sending_began = False

    async def begin(self) -> None:
        """From here on bytes may leave. Raises TooLate, and what `leave` raises."""
        self._check(self._send_before)
        if self._leave is not None:
            opened_at = self._clock.now()
            await self._leave()
            self._check(opened_at + _LONGEST_OPEN)
            self._check(self._send_before)
        self._deadline.reschedule(asyncio.get_running_loop().time() + self._seconds)
        self.sending_began = True
        faults.point(f"{self._name}.request")

    def _check(self, limit: datetime | None) -> None:
        if limit is not None and self._clock.now() >= limit:
            raise TooLate("its time to be sent is over")

    def end(self) -> None:
        """All of it has left."""
        faults.point(f"{self._name}.sent")
