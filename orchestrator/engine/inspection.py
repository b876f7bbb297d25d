"""When to look whether something is done, seen how long others like it took. Pure.

This is the inspection problem of reliability theory (Barlow, Hunter and Proschan, "Optimum checking procedures", 1963):
each look costs something, and so does each second for which what is done is not known to be. Given the distribution
of the times, the looks that cost the least in all are found by dynamic programming from its end.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from math import inf
from statistics import median

#: The one knob: a look costs as much as so much lag, as a share of the median time. Less means more looks and less lag.
POLL_COST = 0.001
#: Times to have seen before they say anything.
LEAST_TIMES = 5
#: What was not seen yet may be so much sooner than the soonest, or later than the latest, that was.
_MARGIN = 1.5
#: Instants considered between these two, each the same share later than the one before.
_STEPS = 96
_SHORTEST_SECONDS = 0.01


class DoneTimes:
    """How long requests of one kind take until they are done, from at least `LEAST_TIMES` that were seen.

    Between the times that were seen any time is as likely; before the first and after the last of `n` of them is one
    (n + 1)th of the probability each.
    """

    def __init__(self, seconds: Sequence[float], *, poll_cost: float = POLL_COST) -> None:
        ordered = sorted(max(each, _SHORTEST_SECONDS) for each in seconds)
        self._cost = poll_cost * median(ordered)
        seen = [ordered[0] / _MARGIN, *ordered, ordered[-1] * _MARGIN]
        ratio: float = (seen[-1] / seen[0]) ** (1 / _STEPS)
        self._times: list[float] = [seen[0] * ratio**step for step in range(_STEPS)] + [seen[-1]]
        self._done = [_share_before(seen, time) for time in self._times]
        self._areas = [0.0]  # under the distribution, from its begin: the lag of all that is done by then, in all
        for step in range(_STEPS):
            width = self._times[step + 1] - self._times[step]
            self._areas.append(self._areas[-1] + width * (self._done[step] + self._done[step + 1]) / 2)
        self._plan: tuple[float, list[float]] = (-1.0, [])

    @property
    def last_seconds(self) -> float:
        """From this age on nothing is known."""
        return self._times[-1]

    def wait_seconds(self, age_seconds: float, *, at_least: float) -> float:
        """How long to wait before the next look at what was not done at this age."""
        age = max(age_seconds, 0.0)
        soonest = age + at_least
        if soonest >= self.last_seconds:
            return at_least
        rest = self._rest(at_least)
        done, area = self._at(age)
        best = soonest
        least = self._at(soonest)[1] - area - done * at_least + self._between(rest, soonest)
        for step in range(bisect_right(self._times, soonest), _STEPS + 1):
            lag = self._areas[step] - area - done * (self._times[step] - age)
            if lag >= least:
                break
            if lag + rest[step] < least:
                best, least = self._times[step], lag + rest[step]
        return best - age

    def _rest(self, gap: float) -> list[float]:
        """What all that comes after a look at each instant costs, with at least `gap` seconds between two looks."""
        planned_for, rest = self._plan
        if planned_for == gap:
            return rest
        times, done, areas = self._times, self._done, self._areas
        rest = [0.0] * len(times)
        for step in range(_STEPS - 1, -1, -1):
            first = min(bisect_left(times, times[step] + gap, step + 1), _STEPS)
            least = inf
            for then in range(first, _STEPS + 1):
                lag = areas[then] - areas[step] - done[step] * (times[then] - times[step])
                if lag >= least:
                    break
                least = min(least, lag + rest[then])
            rest[step] = least + self._cost * (1 - done[step])
        self._plan = gap, rest  # in one go: threads share it
        return rest

    def _at(self, time: float) -> tuple[float, float]:
        """The share that is done at an instant, and the area up to it."""
        step = bisect_right(self._times, time) - 1
        if step < 0:
            return 0.0, 0.0
        if step >= _STEPS:
            return 1.0, self._areas[-1] + time - self._times[-1]
        before, width = self._times[step], self._times[step + 1] - self._times[step]
        done = self._done[step] + (self._done[step + 1] - self._done[step]) * (time - before) / width
        return done, self._areas[step] + (time - before) * (self._done[step] + done) / 2

    def _between(self, values: Sequence[float], time: float) -> float:
        """The value at an instant before the last, of values at each of the instants considered."""
        step = bisect_right(self._times, time) - 1
        if step < 0:
            return values[0]
        share = (time - self._times[step]) / (self._times[step + 1] - self._times[step])
        return values[step] + share * (values[step + 1] - values[step])


def _share_before(seen: Sequence[float], time: float) -> float:
    """The share of probability up to an instant: equally much between each two of the instants in `seen`."""
    after = bisect_right(seen, time)
    if after == 0:
        return 0.0
    if after == len(seen):
        return 1.0
    width = seen[after] - seen[after - 1]
    return (after - 1 + (time - seen[after - 1]) / width) / (len(seen) - 1)
