"""Whether what is finished will be stored before its sources expire, and whether it has room until then. Pure.

Copies are made in the order in which their sources expire, so the n-th of them is done after n divided by the rate.
"""

from collections.abc import Iterable
from dataclasses import dataclass

#: A copy has to be done within this share of the time that is left: what is only just in time by today's rate is late.
SHARE_OF_TIME = 0.5
#: Copies to have seen before their pace says anything.
_LEAST_COPIES = 5
#: The weight of the newest copy among those seen before.
_WEIGHT = 0.1


@dataclass(frozen=True, slots=True)
class Due:
    """So many finished jobs whose sources expire `in_seconds` from now (below zero: ago)."""

    in_seconds: float
    jobs: int


def count_late(backlog: Iterable[Due], jobs_per_second: float) -> int:
    """How many jobs of a backlog cannot be counted on to be stored in time at this rate."""
    late = before = 0
    for due in sorted(backlog, key=lambda due: due.in_seconds):
        in_time = int(max(due.in_seconds, 0) * SHARE_OF_TIME * jobs_per_second) - before
        late += max(0, due.jobs - max(in_time, 0))
        before += due.jobs
    return late


def overflows(*, spool_bytes: int, cap_bytes: int, jobs: int, bytes_per_job: float) -> bool:
    """Whether the files of so many more jobs may not find room in the spool while the destination takes none."""
    return spool_bytes + jobs * bytes_per_job >= cap_bytes


class CopyPace:
    """What copies took, the newest counting most: how fast this process could store, whatever there is to store."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._seen = 0
        self._seconds = 0.0
        #: Bytes of a job's originals.
        self.bytes_per_job = 0.0

    def note(self, *, seconds: float, size_bytes: int) -> None:
        """A job's files were stored."""
        self._seen += 1
        weight = max(_WEIGHT, 1 / self._seen)
        self._seconds += weight * (seconds - self._seconds)
        self.bytes_per_job += weight * (size_bytes - self.bytes_per_job)

    @property
    def jobs_per_second(self) -> float | None:
        """With all slots busy; None while too little was seen."""
        if self._seen < _LEAST_COPIES:
            return None
        return self._slots / max(self._seconds, 0.001)
