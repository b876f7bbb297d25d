"""Troubles that last: since when, and how often, until what was in trouble works or nobody meets it any more."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
#: Longer than the longest pause between two tries of anything.
FORGOTTEN_AFTER_SECONDS = 900.0


@dataclass(slots=True)
class Streak:
    """Instants are monotonic seconds."""

    since: float
    last: float
    times: int = 0

    @property
    def lasted(self) -> float:
        """Seconds from the first time to the last."""
        return self.last - self.since


class Streaks(Generic[K]):
    """The troubles of one kind that this process has met, each by its key.

    What another process got past is never told here: a trouble that was not met for a while is a new one.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._known: dict[K, Streak] = {}
        self._forget_at = 0.0

    def note(self, key: K) -> Streak:
        """It was met once more."""
        now = self._monotonic()
        if now >= self._forget_at:
            self._known = {key: it for key, it in self._known.items() if now - it.last < FORGOTTEN_AFTER_SECONDS}
            self._forget_at = now + FORGOTTEN_AFTER_SECONDS
        streak = self._known.get(key)
        if streak is None or now - streak.last >= FORGOTTEN_AFTER_SECONDS:
            streak = self._known[key] = Streak(now, now)
        streak.last = now
        streak.times += 1
        return streak

    def end(self, key: K) -> None:
        """It works."""
        self._known.pop(key, None)
