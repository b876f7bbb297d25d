"""How long the fake provider works on a job: drawn from the job's prompt, so that every contender meets the same times.

A tenth of what the guide's example shows (46 s for an image), with waits that are a tenth too.
"""

import heapq
import math
import random
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Latency:
    """A lognormal distribution, in seconds; a median of 0 is no wait at all."""

    median_seconds: float
    sigma: float
    #: What the provider answers as `poll_after_seconds`.
    poll_after_seconds: float

    def seconds(self, prompt: str, seed: int = 0) -> float:
        """The time that the job of this prompt takes."""
        if self.median_seconds == 0:
            return 0.0
        return random.Random(f"{seed}/{prompt}").lognormvariate(math.log(self.median_seconds), self.sigma)


LATENCIES = {
    "zero": Latency(0, 0, 0),
    "image": Latency(4.0, 0.5, 0.2),
    "video": Latency(12.0, 0.5, 0.5),
}


def list_schedule_seconds(durations: Iterable[float], cap: int) -> float:
    """The time for all of them in this order where `cap` run at once and each end is seen at once."""
    slots = [0.0] * cap
    for duration in durations:
        heapq.heappush(slots, heapq.heappop(slots) + duration)
    return max(slots)
