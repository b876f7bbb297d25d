"""How long a step of this process stays with nothing to do, since another one may be about to make something due."""

_SECONDS = 1.0
_is_allowed = False


def allow() -> None:
    """Each kind has a thread of its own here; where they have to take turns, none stays. Before the runtime is made."""
    global _is_allowed
    _is_allowed = True


def seconds() -> float:
    """For each step."""
    return _SECONDS if _is_allowed else 0.0
