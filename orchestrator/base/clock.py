"""The clock of the code. SQL has its own (`orchestrator_now()`); a simulation sets both, so that they agree."""

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Where code takes the time from: whoever works with time is given one."""

    def now(self) -> datetime:
        """The instant, in UTC. For dates that others told us; leases and deadlines are the database's to judge."""
        ...

    def monotonic(self) -> float:
        """Seconds since some instant, never going back."""
        ...


class SystemClock:
    """The time of this machine."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


SYSTEM_CLOCK: Clock = SystemClock()


def rfc3339(at: datetime | None) -> str | None:
    """An instant as interface "JSON" spells it: UTC, whole seconds, `Z`."""
    return None if at is None else at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
