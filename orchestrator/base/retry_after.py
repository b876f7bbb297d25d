"""How long an answer asks to wait before the next try (RFC 9110, 10.2.3)."""

from datetime import UTC
from email.utils import parsedate_to_datetime

from orchestrator.base.clock import SYSTEM_CLOCK, Clock

#: Waiting longer than this on a server's word alone would stop the business.
MAX_RETRY_AFTER_SECONDS = 300.0


def retry_after_seconds(value: str | None, clock: Clock = SYSTEM_CLOCK) -> float | None:
    """What a `Retry-After` of seconds or an HTTP date asks for, bounded; None where there is none to read."""
    value = (value or "").strip()
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            until = parsedate_to_datetime(value)
        except (ValueError, OverflowError):
            return None
        until = until if until.tzinfo else until.replace(tzinfo=UTC)
        seconds = (until - clock.now()).total_seconds()
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_SECONDS) if seconds == seconds else None
