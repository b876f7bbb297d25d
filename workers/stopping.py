"""Whether this worker was asked to stop: one flag for the main process and the pool's children, which it forks."""

import ctypes
from multiprocessing.sharedctypes import RawValue

_flag = RawValue(ctypes.c_bool, False)


def ask() -> None:
    """Claim nothing more from now on."""
    _flag.value = True


def asked() -> bool:
    """Whether to claim nothing more."""
    return bool(_flag.value)
