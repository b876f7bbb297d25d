"""How long to wait before the next poll or the next try. Pure, apart from the jitter."""

import random

from orchestrator.engine.inspection import DoneTimes

#: The guide names no bound; a request that is asked for less often than this would be found late.
MAX_POLL_SECONDS = 30.0
_MIN_POLL_SECONDS = 0.01
_DEFAULT_POLL_SECONDS = 2.0
_SHARE_OF_AGE = 0.1
#: However long the provider asks us to wait, and however sure we are that nothing is done before.
_LONGEST_WAIT_SECONDS = 300.0
#: Requests that were accepted together are not asked about together for ever.
_JITTER = 0.1
_FINE_JITTER = 0.02


def first_poll_seconds(poll_after_seconds: float | None, done_times: DoneTimes | None = None) -> float:
    """Seconds until the first poll: as long as the provider asks, and until something may be done."""
    return next_poll_seconds(poll_after_seconds, age_seconds=0, done_times=done_times)


def next_poll_seconds(
    poll_after_seconds: float | None, *, age_seconds: float, done_times: DoneTimes | None = None
) -> float:
    """Seconds until the next poll: as long as the provider asks, and longer where what is known of others like it
    (`done_times`) says that it is not worth it.

    What is older than all of those, or like nothing that was seen, is waited for at least a tenth of its age, up to
    30 s: that bounds both the number of polls and the share of time lost.
    """
    wished = _DEFAULT_POLL_SECONDS if poll_after_seconds is None else poll_after_seconds
    asked = min(max(wished, _MIN_POLL_SECONDS), _LONGEST_WAIT_SECONDS)
    if done_times is not None and age_seconds < done_times.last_seconds:
        wait = done_times.wait_seconds(age_seconds, at_least=asked)
        return _jittered(min(wait, _LONGEST_WAIT_SECONDS), _FINE_JITTER)
    return _jittered(max(asked, min(age_seconds * _SHARE_OF_AGE, MAX_POLL_SECONDS)))


def retry_seconds(failures: int, *, first: float = 0.5, longest: float = 60.0) -> float:
    """Seconds until the next try after `failures` tries that did not work: doubling from `first` to `longest`."""
    return _jittered(min(first * 2.0 ** min(failures, 20), longest))


def _jittered(seconds: float, most: float = _JITTER) -> float:
    return seconds * random.uniform(1.0, 1.0 + most)
