"""Faults on demand: which call is to go wrong, how, and how often."""

import random
import threading
from decimal import Decimal
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Place = Literal["submit", "offer", "top-up", "poll", "asset", "balance", "wallet", "models", "rpc"]
RetryAfter = float | Literal["http-date", "absent", "absurd"]

_EVERYWHERE = frozenset({"429", "500", "drop", "slow"})
_PAID = frozenset(
    {
        "429",
        "401",
        "402",
        "403",
        "500-before-charge",
        "500-after-charge",
        "502-html",
        "502-html-after-charge",
        "drop-before-charge",
        "drop-after-charge",
        "slow",
        "garbage",
        "price",
        "402-after-charge",
        "500-after-settlement",
        "late-settlement",
        "no-receipt",
        "garbled-receipt",
    }
)

KINDS: dict[Place, frozenset[str]] = {
    "submit": _PAID | {"partial-failure"},
    "offer": _EVERYWHERE
    | {
        "403",
        "502-html",
        "html",
        "price",
        "pay-to",
        "asset",
        "network",
        "scheme",
        "no-header",
        "not-base64",
        "not-json",
        "no-offers",
    },
    "top-up": _PAID,
    "poll": _EVERYWHERE | {"401", "404", "unknown-status", "missing-responses", "no-original", "no-assets"},
    "asset": frozenset(
        {
            "403",
            "404",
            "500",
            "corrupt",
            "empty",
            "expired",
            "html",
            "slow",
            "truncated",
            "truncated-no-length",
        }
    ),
    "balance": _EVERYWHERE | {"401"},
    "wallet": _EVERYWHERE | {"401", "html"},
    "models": _EVERYWHERE | {"html"},
    "rpc": _EVERYWHERE | {"html", "garbage", "lagging", "lying"},
}
"""Every fault that exists, by the place where it can strike."""


class FaultRule(BaseModel):
    """One fault: strikes the first `times` calls (None: all) at its place, after letting `skip` calls pass.

    With a `probability` below 1 each call is struck by the throw of a die seeded with `seed`. `match` narrows a rule
    to calls whose body (POSTs) or path (elsewhere) contains that text. `seconds` is how long `slow` takes, how
    far ahead an `http-date` of `retry_after` or a `late-settlement` lies, and how far behind a `lagging` chain.
    `price` asks the catalogue's prices times `factor`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    at: Place
    kind: str
    times: int | None = Field(default=1, ge=0)
    skip: int = Field(default=0, ge=0)
    probability: float = Field(default=1.0, ge=0, le=1)
    seed: int = 0
    match: str = ""
    seconds: float = Field(default=2.0, ge=0)
    retry_after: RetryAfter = 1.0
    factor: Decimal = Field(default=Decimal(1), ge=0)

    @model_validator(mode="after")
    def _kind_exists(self) -> Self:
        if self.kind not in KINDS[self.at]:
            expected = ", ".join(sorted(KINDS[self.at]))
            raise ValueError(f"no fault {self.kind!r} at {self.at}; expected one of {expected}")
        return self


class Faults(BaseModel):
    """The faults a sandbox plays. At each call the first rule that strikes decides."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rules: tuple[FaultRule, ...] = ()

    @classmethod
    def of(cls, *rules: FaultRule) -> Self:
        return cls(rules=rules)


class FaultPlayer:
    """Decides call by call which rule strikes, and keeps count."""

    def __init__(self, faults: Faults) -> None:
        self._lock = threading.Lock()
        self.play(faults)

    def play(self, faults: Faults) -> None:
        """Replaces all rules; counts and dice start anew."""
        with self._lock:
            self._counters = [_Counter(rule) for rule in faults.rules]

    def strike(self, at: Place, text: str) -> FaultRule | None:
        """The rule that strikes this call, or None. `text` is what `match` looks into."""
        with self._lock:
            return next((counter.rule for counter in self._counters if counter.strikes(at, text)), None)

    def document(self) -> list[dict[str, object]]:
        """The rules with the number of calls that each has struck."""
        with self._lock:
            return [{**counter.rule.model_dump(mode="json"), "struck": counter.struck} for counter in self._counters]


class _Counter:
    def __init__(self, rule: FaultRule) -> None:
        self.rule = rule
        self.struck = 0
        self._to_skip = rule.skip
        self._die = random.Random(rule.seed)

    def strikes(self, at: Place, text: str) -> bool:
        rule = self.rule
        if rule.at != at or rule.match not in text or self.struck == rule.times:
            return False
        if self._to_skip:
            self._to_skip -= 1
            return False
        if rule.probability < 1 and self._die.random() >= rule.probability:
            return False
        self.struck += 1
        return True
