"""What the jobs that were done lately tell of when to ask about others like them."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from orchestrator.engine.inspection import LEAST_TIMES, POLL_COST, DoneTimes
from orchestrator.store.durations import JobKind, Seen

#: A process looks at the rows again after so long, and only while it has something to ask about.
LOOK_AGAIN_SECONDS = 3.0
#: So many of the newest jobs of a kind tell how long the next ones take; older ones are of a provider that was.
_NEWEST = 100
#: Where the provider says nothing, a job was done before it was seen: after half of that time, where that was the first
#: poll, else after about so much of it.
_SINCE_FIRST_POLL = 0.95
_BEFORE_FIRST_POLL = 0.5
#: Of the waits before and after the provider's own work, which are seen with our own lag only, one of the shortest
#: is that of all.
_SHORT_WAIT_SHARE = 0.1
_MOST_KINDS = 500


class PollTimes:
    """The times until they were done of the kinds of requests seen lately; what was not seen again for long is kept.

    One a process: what it knows comes from the rows, so that all workers know the same, also after a restart.
    """

    def __init__(self, monotonic: Callable[[], float], *, poll_cost: float = POLL_COST) -> None:
        self._monotonic = monotonic
        self._poll_cost = poll_cost
        self._look_again_at = monotonic()
        self._times: dict[JobKind, DoneTimes] = {}

    def is_old(self) -> bool:
        """Whether it is time to `learn` again; True once, for whoever asks first."""
        if self._monotonic() < self._look_again_at:
            return False
        self._look_again_at = self._monotonic() + LOOK_AGAIN_SECONDS
        return True

    def learn(self, newest: Iterable[Seen]) -> None:
        """Take up what the rows tell, the newest first."""
        by_kind: dict[JobKind, list[Seen]] = defaultdict(list)
        for seen in newest:
            for kind in {seen.kind, JobKind(seen.kind.model)}:
                by_kind[kind].append(seen)
        for kind, jobs in by_kind.items():
            if len(jobs) >= LEAST_TIMES:
                self._times.pop(kind, None)  # the dict is in the order in which kinds were last seen
                self._times[kind] = DoneTimes(done_seconds(jobs[:_NEWEST]), poll_cost=self._poll_cost)
        for kind in list(self._times)[:-_MOST_KINDS]:
            del self._times[kind]

    def of(self, kind: JobKind) -> DoneTimes | None:
        """Those of a kind, or of its model where this length was not seen often; None while too little is known."""
        return self._times.get(kind) or self._times.get(JobKind(kind.model))


def done_seconds(jobs: Sequence[Seen]) -> list[float]:
    """How long after their acceptance jobs of one kind were done, as well as that is known."""
    waits = sorted(max(job.seconds - job.told_seconds, 0.0) for job in jobs if job.told_seconds is not None)
    wait = waits[int(len(waits) * _SHORT_WAIT_SHARE)] if waits else 0.0
    return [_done_seconds(job, wait) for job in jobs]


def _done_seconds(job: Seen, wait_seconds: float) -> float:
    if job.told_seconds is not None:
        return min(job.told_seconds + wait_seconds, job.seconds)
    return job.seconds * (_BEFORE_FIRST_POLL if job.polls <= 1 else _SINCE_FIRST_POLL)
