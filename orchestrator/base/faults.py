"""Named fault points: no-ops, unless a test installs a hook that raises, pauses or kills the process there.

One stands at every boundary where the outside world sees a difference: before and after each commit (`db`), each paid
POST (`pay`), free request (`ask`), download (`fetch`) and upload (`upload`), and around each file that is made durable
(`spool`, `folder`, `receipt`). `tests/crash` numbers them and kills a process at each.
"""

from collections.abc import Callable

_hook: Callable[[str], None] | None = None


def install(hook: Callable[[str], None] | None) -> None:
    """Call `hook(name)` at every fault point from now on; None takes it away."""
    global _hook
    _hook = hook


def point(name: str) -> None:
    """A boundary a crash test can stop at, such as `db.committed` or `pay.sent`."""
    if _hook is not None:
        _hook(name)
