"""Visiting boundaries: which there are, a trial for each of them, and the count of what was reached."""

import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from .arena import End, Trial
from .victim import Boundary

#: Whether all is visited that there is (`make crash`).
ALL = os.environ.get("CRASH") == "all"
#: How often a trial is made anew whose process lived to its end: timing decides how often a boundary is visited.
_TRIES = 5
#: What there is to visit is what each of so many runs visited that nothing happened to: timing adds more now and then.
RUNS = 3
#: The share of the boundaries that may be missed all the same, besides one.
_MISSED = 0.1


def surely(*runs: Mapping[str, int]) -> dict[str, int]:
    """The visits that every one of some runs has: timing adds a poll here and there."""
    return {name: min(run.get(name, 0) for run in runs) for name in runs[0]}


def all_boundaries(visits: Mapping[str, int]) -> list[Boundary]:
    """Every visit of every boundary."""
    return [Boundary(name, number + 1) for name, count in visits.items() for number in range(count)]


def boundaries_at(point: str, visits: Mapping[str, int]) -> list[Boundary]:
    """The boundaries that stand at one fault point."""
    return [boundary for boundary in all_boundaries(visits) if boundary.name.partition(" (")[0] == point]


@dataclass
class Tour:
    """The visits of some boundaries, one after the other, each in a trial of its own."""

    new_trial: Callable[[], AbstractContextManager[Trial]]
    #: Lives through the death at a boundary and brings everything to an end; returns how the first process ended.
    live: Callable[[Trial, Boundary], End]
    #: The states that the jobs are in at the end, where they are not their results.
    expected: Mapping[str, str] | None = None
    reached: list[Boundary] = field(default_factory=list)
    missed: list[Boundary] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def visit(self, boundaries: Iterable[Boundary]) -> None:
        for boundary in boundaries:
            was_reached = any(self._try(boundary) for _ in range(_TRIES))
            (self.reached if was_reached else self.missed).append(boundary)

    def _try(self, boundary: Boundary) -> bool:
        with self.new_trial() as trial:
            was_killed = self.live(trial, boundary).was_killed
            if wrong := trial.finish(self.expected):
                self.failures.append("\n  ".join([f"killed at {boundary}:", *wrong, trial.log()]))
        return was_killed

    def check(self) -> None:
        """Raises AssertionError where a death left something wrong."""
        assert not self.failures, "\n\n".join(self.failures)

    def check_all_reached(self) -> None:
        """Raises AssertionError where a boundary was never reached, or too many of its visits were not."""
        allowed = max(1, _MISSED * len(self.reached))
        assert len(self.missed) <= allowed, f"not reached: {', '.join(map(str, self.missed))}"
        unseen = {boundary.name for boundary in self.missed} - {boundary.name for boundary in self.reached}
        assert not unseen, f"never reached: {', '.join(sorted(unseen))}"

    def summary(self) -> str:
        """The count, for the end of the test run."""
        missed = f"; not reached: {', '.join(map(str, self.missed))}" if self.missed else ""
        return f"killed at {len(self.reached)}{missed}"
