"""When a batch will have ended, for all that was seen so far. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor

from orchestrator.store.pulse import Typical
from orchestrator.store.totals import ModelWork

#: The jobs ahead may be that much quicker or slower, all in all, than those that were seen.
_DRIFT = 0.15


@dataclass(frozen=True, slots=True)
class Remaining:
    """It takes at least and at most about so many seconds more."""

    least_seconds: int
    most_seconds: int


def remaining(
    work: Sequence[ModelWork], typical: Mapping[str, Typical], *, at_once: int, per_minute: float | None = None
) -> Remaining | None:
    """How long the rest takes while so many jobs are under way at once, of which `per_minute` ended just now (None:
    not known); None where it cannot be told: while nothing is under way, or a model ahead was never seen to end.

    Early on the quick ones are those that were seen, and the rate is still low: the truth is in between.
    """
    ahead = [each for each in work if each.unsent or each.under_way]
    if not ahead:
        return Remaining(0, 0)
    if at_once <= 0 or any(each.model not in typical for each in ahead):
        return None
    by_time = sum(each.unsent * typical[each.model].mean_seconds for each in ahead) / at_once
    by_rate = 60 * sum(each.unsent for each in ahead) / per_minute if per_minute else by_time
    last = max(typical[each.model].mean_seconds + typical[each.model].spread_seconds for each in ahead)
    return Remaining(floor(min(by_time, by_rate) * (1 - _DRIFT)), ceil(max(by_time, by_rate) * (1 + _DRIFT) + last))
