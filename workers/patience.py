"""How long a step of this process stays with nothing to do, since another one may be about to make something due."""

from collections.abc import Collection

from orchestrator.operations.opening import Provider
from workers.kinds import SETTLE

_SECONDS = 1.0
_is_allowed = False


def allow(threads: int, kinds: Collection[str], providers: Collection[Provider]) -> None:
    """Let steps stay, where each of each account has one of the `threads`, and one is left to settle: where they have
    to take turns, none stays. Called before the runtime is made.
    """
    global _is_allowed
    steps = len(frozenset(kinds) - {SETTLE}) * len(providers)
    replays = sum(provider.payment.is_direct for provider in providers) if "submit" in kinds else 0
    _is_allowed = threads > steps + replays


def seconds() -> float:
    """For each step."""
    return _SECONDS if _is_allowed else 0.0
