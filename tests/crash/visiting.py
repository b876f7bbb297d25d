"""Visiting boundaries: which there are, a trial for each of them, and the count of what was reached."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from .arena import End, Trial
from .victim import Boundary

#: How often a trial is made anew whose process lived to its end: timing decides how often a boundary is visited.
_TRIES = 3
#: The share of the boundaries that have to be reached.
_REACHED = 0.9


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
            if wrong := trial.finish():
                self.failures.append("\n  ".join([f"killed at {boundary}:", *wrong, trial.log()]))
        return was_killed

    def check(self) -> None:
        """Raises AssertionError where a death left something wrong, or too few of the boundaries were reached."""
        assert not self.failures, "\n\n".join(self.failures)
        asked = len(self.reached) + len(self.missed)
        assert len(self.reached) >= _REACHED * asked, f"not reached: {', '.join(map(str, self.missed))}"
        unseen = {boundary.name for boundary in self.missed} - {boundary.name for boundary in self.reached}
        assert not unseen, f"never reached: {', '.join(sorted(unseen))}"

    def summary(self) -> str:
        """The count, for the end of the test run."""
        missed = f"; not reached: {', '.join(map(str, self.missed))}" if self.missed else ""
        return f"killed at {len(self.reached)}{missed}"
