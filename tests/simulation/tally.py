"""What happened in one or many simulations."""

from collections import Counter
from dataclasses import dataclass, field


class Violated(Exception):
    """An invariant does not hold. `wrong` says which and how."""

    def __init__(self, wrong: list[str]) -> None:
        super().__init__("; ".join(wrong))
        self.wrong = wrong


@dataclass
class Tally:
    """Counts; `turns` and `statements` say how much work it was."""

    simulations: int = 0
    batches: int = 0
    jobs: int = 0
    audits: int = 0
    kills: int = 0
    turns: int = 0
    statements: int = 0
    virtual_hours: float = 0.0
    mishaps: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)

    def add(self, other: "Tally") -> None:
        for name in ("simulations", "batches", "jobs", "audits", "kills", "turns", "statements", "virtual_hours"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.mishaps.update(other.mishaps)
        self.ends.update(other.ends)
