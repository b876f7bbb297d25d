"""What a command does when its session is dropped: SIGHUP comes several times then, from the shell and the kernel."""

import signal
from types import FrameType


def hang_up(_signal: int, _frame: FrameType | None) -> None:
    """A handler that ends the process as Ctrl-C does, but once."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    raise KeyboardInterrupt
