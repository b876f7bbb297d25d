"""Virtual time: event loops that never wait, on one clock that jumps to whatever is due next.

Every simulated process has a loop of its own. One thread turns them one after the other, always the one with the
earliest event, so that all that happens has one order, and the seed decides it.
"""

import asyncio
import random
import selectors
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

#: When every simulation begins.
EPOCH = datetime(2026, 11, 22, 12, tzinfo=UTC)
#: How long a call in a thread takes at least and at most: a transaction, a file.
_CALL_SECONDS = (0.0005, 0.02)


class Killed(BaseException):
    """Raised in a process that was just killed; nothing of ours catches it."""


class VirtualClock:
    """The time of a simulation: a `base.clock.Clock`, and Unix seconds for the sandbox."""

    def __init__(self) -> None:
        self._seconds = 0.0

    def now(self) -> datetime:
        return EPOCH + timedelta(seconds=self._seconds)

    def monotonic(self) -> float:
        return self._seconds

    def unix(self) -> float:
        return EPOCH.timestamp() + self._seconds

    def advance_to(self, seconds: float) -> None:
        self._seconds = max(self._seconds, seconds)


class _Blind(selectors.SelectSelector):
    """Sees no file and never waits."""

    def select(self, timeout: float | None = None) -> list[Any]:
        return []


class _Task(asyncio.Task[Any]):
    """A task whose place in a set depends on its number, not on where it lies in memory."""

    _number = 0

    def __hash__(self) -> int:
        if not self._number:
            loop = self.get_loop()
            assert isinstance(loop, VirtualLoop)
            self._number = loop.next_number()
        return self._number


class VirtualLoop(asyncio.SelectorEventLoop):
    """The event loop of one simulated process. What it hands to threads runs at once and answers a little later."""

    # Of the standard library's loop: what is to run in its next turn, and what at its time, the nearest first.
    _ready: deque[asyncio.Handle]
    _scheduled: list[asyncio.TimerHandle]

    def __init__(self, clock: VirtualClock, dice: random.Random) -> None:
        super().__init__(_Blind())
        self._virtual = clock
        self._dice = dice
        self._numbers = 0
        #: A stopped process (SIGSTOP) does nothing until then.
        self.stopped_until = 0.0
        self.is_killed = False
        self.set_task_factory(lambda loop, work, **named: _Task(work, loop=loop, **named))
        self.set_exception_handler(lambda *_: None)

    def time(self) -> float:
        return self._virtual.monotonic()

    def next_number(self) -> int:
        self._numbers += 1
        return self._numbers

    def run_in_executor(  # type: ignore[override]  # a Future may be awaited, too
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """Run `func` now, on this thread: that pins the order of SQL. A killed process runs nothing."""
        if self.is_killed:
            raise Killed
        future: asyncio.Future[Any] = self.create_future()
        settle: Callable[[], None]
        try:
            settle = partial(future.set_result, func(*args))
        except Exception as error:  # noqa: BLE001 - it goes to whoever awaits
            settle = partial(future.set_exception, error)
        self.call_later(self._dice.uniform(*_CALL_SECONDS), lambda: None if future.done() else settle())
        return future

    def next_event_at(self) -> float | None:
        """When it has something to do, in virtual seconds; None where it waits for others."""
        if self.is_killed or not (self._ready or self._scheduled):
            return None
        due = self.time() if self._ready else self._scheduled[0].when()
        return max(due, self.stopped_until)

    def turn(self) -> None:
        """One iteration: whatever is ready or due now."""
        self.stop()
        self.run_forever()

    def bury(self) -> None:
        """Close it and what it left unfinished. Nothing of that can reach the world any more."""
        self.is_killed = True
        for task in asyncio.all_tasks(self):
            task._log_destroy_pending = False  # type: ignore[attr-defined]  # no other way to be quiet
            with suppress(BaseException):  # what its `finally` blocks still try fails: the process is dead
                task.get_coro().close()
        self._ready.clear()
        self._scheduled.clear()
        self.close()
