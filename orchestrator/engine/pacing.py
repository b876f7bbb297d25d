"""How long to wait before the next poll or the next try. Pure, apart from the jitter."""

import random

#: The guide names no bound; a request that is asked for less often than this would be found late.
MAX_POLL_SECONDS = 30.0
_MIN_POLL_SECONDS = 0.05
_DEFAULT_POLL_SECONDS = 2.0
_SHARE_OF_AGE = 0.1
_MAX_ASKED_SECONDS = 300.0


def first_poll_seconds(poll_after_seconds: float | None) -> float:
    """Seconds until the first poll: as long as the provider asks."""
    return next_poll_seconds(poll_after_seconds, age_seconds=0)


def next_poll_seconds(poll_after_seconds: float | None, *, age_seconds: float) -> float:
    """Seconds until the next poll: as long as the provider asks, and at least a tenth of the request's age, up to 30 s.

    Waiting in proportion to the age bounds both the number of polls and the share of time lost.
    """
    asked = _DEFAULT_POLL_SECONDS if poll_after_seconds is None else poll_after_seconds
    by_age = min(age_seconds * _SHARE_OF_AGE, MAX_POLL_SECONDS)
    return _jittered(min(max(asked, by_age, _MIN_POLL_SECONDS), _MAX_ASKED_SECONDS))


def retry_seconds(failures: int, *, first: float = 0.5, longest: float = 60.0) -> float:
    """Seconds until the next try after `failures` tries that did not work: doubling from `first` to `longest`."""
    return _jittered(min(first * 2.0 ** min(failures, 20), longest))


def _jittered(seconds: float) -> float:
    return seconds * random.uniform(1.0, 1.1)
