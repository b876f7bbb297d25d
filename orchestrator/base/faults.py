"""Named fault points: no-ops, unless a test installs a hook that raises, pauses or kills the process there."""

from collections.abc import Callable

_hook: Callable[[str], None] | None = None


def install(hook: Callable[[str], None] | None) -> None:
    """Call `hook(name)` at every fault point from now on; None takes it away."""
    global _hook
    _hook = hook


def point(name: str) -> None:
    """A boundary a crash test can stop at, such as `submit.sent` or `copy.uploaded`."""
    if _hook is not None:
        _hook(name)
