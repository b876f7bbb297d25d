"""When a batch will have ended, for all that was seen so far. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor

from orchestrator.store.pulse import Typical
from orchestrator.store.totals import Work

#: The jobs ahead may be that much quicker or slower, all in all, than those that were seen.
_DRIFT = 0.15


@dataclass(frozen=True, slots=True)
class Remaining:
    """It takes at least and at most about so many seconds more."""

    least_seconds: int
    most_seconds: int


def remaining(work: Sequence[Work], typical: Mapping[str, Typical], *, at_once: int) -> Remaining | None:
    """How long the rest takes while so many jobs are under way at once; None where it cannot be told.

    That is while nothing is under way, or as long as no job of a model that is ahead was ever seen to end.
    """
    ahead = [each for each in work if each.unsent or each.under_way]
    if not ahead:
        return Remaining(0, 0)
    if at_once <= 0 or any(each.model not in typical for each in ahead):
        return None
    sending = sum(each.unsent * typical[each.model].mean_seconds for each in ahead) / at_once
    last = max(typical[each.model].mean_seconds + typical[each.model].spread_seconds for each in ahead)
    return Remaining(floor(sending * (1 - _DRIFT)), ceil(sending * (1 + _DRIFT) + last))
