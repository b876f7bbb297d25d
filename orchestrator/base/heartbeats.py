"""Which loops of this process still move: each one beats, and whoever asks hears how long ago it did."""

import asyncio
import time
from collections.abc import Callable
from enum import StrEnum

_EVERY_SECONDS = 1.0


class Loop(StrEnum):
    """A loop that a worker must not lose."""

    #: The event loop on which everything is sent, polled and stored.
    ENGINE = "engine"
    #: What looks for due work and wakes the workers (Celery).
    WATCH = "watch"
    #: What runs schedules; a submission of many jobs holds it up for minutes.
    TICKER = "ticker"
    #: What leads, or tries to.
    LEADER = "leader"


#: A loop that has not moved for so long is stuck. Each of them outlasts all timeouts of database and broker in a row; a
#: ticker is never taken for stuck, since what it does may take as long as it likes.
STUCK_AFTER_SECONDS = {Loop.ENGINE: 120.0, Loop.WATCH: 300.0, Loop.LEADER: 300.0}


class Heartbeats:
    """The loops of one process. For any thread."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._beaten_at: dict[Loop, float] = {}

    def beat(self, loop: Loop) -> None:
        """It moves."""
        self._beaten_at[loop] = self._monotonic()

    def forget(self, loop: Loop) -> None:
        """It has come to its end as it should."""
        self._beaten_at.pop(loop, None)

    def ages(self) -> dict[Loop, float]:
        """The seconds since each loop that this process has moved last."""
        now = self._monotonic()
        return {loop: max(now - beaten_at, 0.0) for loop, beaten_at in self._beaten_at.copy().items()}

    def stuck(self) -> list[Loop]:
        """The loops that should have moved since."""
        return [loop for loop, age in self.ages().items() if age > STUCK_AFTER_SECONDS.get(loop, float("inf"))]

    async def keep(self, loop: Loop) -> None:
        """Beat for the event loop that this runs on, until cancelled."""
        try:
            while True:
                self.beat(loop)
                await asyncio.sleep(_EVERY_SECONDS)
        finally:
            self.forget(loop)
