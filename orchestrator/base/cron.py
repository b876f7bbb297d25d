"""The slots of a cron expression in a time zone: also on the two nights a year when the clocks change."""

from collections.abc import Iterator
from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

_FIELDS = 5


def slots_after(cron: str, tz: str, after: datetime) -> Iterator[datetime]:
    """The slots of a five-field expression after an instant, in UTC, without end.

    As Debian's cron does it: what falls into the hour that is left out runs right after it, and what falls into the
    hour that comes twice runs the first time only, unless it is to run every hour or every few minutes. Raises
    ValueError as `check` does.
    """
    slots = _simulated(cron, after.astimezone(_zone(tz)))
    return (slot for slot in _in_utc(slots) if slot > after)


def check(cron: str, tz: str) -> None:
    """Raises ValueError, with words for its author, where the expression or the zone means nothing."""
    slots_after(cron, tz, datetime(2000, 1, 1, tzinfo=UTC))


def _simulated(cron: str, start: datetime) -> CronSim:
    if len(cron.split()) != _FIELDS:
        raise ValueError(
            f"{cron!r} is not a cron expression of five fields (minute, hour, day, month, weekday); every night at "
            "two is '0 2 * * *'"
        )
    try:
        slots = CronSim(cron, start)
        next(CronSim(cron, start))
    except CronSimError as error:
        raise ValueError(f"{cron!r} is not a cron expression: {str(error).lower()}") from None
    except StopIteration:
        raise ValueError(f"{cron!r} names a day that never comes") from None
    return slots


def _in_utc(slots: CronSim) -> Iterator[datetime]:
    for slot in slots:
        yield slot.astimezone(UTC)


def _zone(tz: str) -> ZoneInfo:
    try:
        return ZoneInfo(tz)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{tz!r} is not a time zone; one looks like Europe/Berlin or UTC") from None
