"""The process that dies: `resume` of everything open, which kills itself at its n-th visit of a fault point.

Arguments: the point's name (or "-") and the number of the visit.
"""

import os
import signal
import sys
import threading

from orchestrator.base import faults
from orchestrator.base.settings import load_settings
from orchestrator.operations.resuming import resume


def die_at(point: str, visit: int) -> None:
    seen = 0
    lock = threading.Lock()

    def hook(name: str) -> None:
        nonlocal seen
        with lock:
            seen += name == point
            if name == point and seen == visit:
                os.kill(os.getpid(), signal.SIGKILL)

    faults.install(hook)


if __name__ == "__main__":
    die_at(sys.argv[1], int(sys.argv[2]))
    resume(None, load_settings(), confirm=lambda _ids, _credits: True)
