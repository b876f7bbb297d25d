"""Whether this worker was asked to stop: one flag for the main process and the pool's children, which it forks."""

import ctypes
import signal
from multiprocessing.sharedctypes import RawValue
from typing import Any

from celery.signals import worker_process_init
from celery.worker import state

#: As under nohup. Looked at before Celery handles it, which would start the worker anew.
_IGNORES_HANGUP = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
_flag = RawValue(ctypes.c_bool, False)


def ask() -> None:
    """Claim nothing more from now on."""
    _flag.value = True


def asked() -> bool:
    """Whether to claim nothing more."""
    return bool(_flag.value)


def stop_on_hangup() -> None:
    """Have SIGHUP end this worker as SIGTERM does, unless it was started to ignore it. In the main process."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN if _IGNORES_HANGUP else _stop)


def _stop(*_: Any) -> None:
    state.should_stop = 0  # nothing is said: there is no terminal any more


def _leave_hangup_to_parent(**_: Any) -> None:
    """The whole group gets it when a session is dropped; a child of the prefork pool ends when its parent says so."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


worker_process_init.connect(_leave_hangup_to_parent)
