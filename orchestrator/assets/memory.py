"""How much copies hold in memory at once: bodies between source and destination, and pictures being decoded."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

DEFAULT_MEMORY_BYTES = 256 * 1024**2


class CopyMemory:
    """`limit_bytes` for all copies of a process: half for bodies, half for decoding. Safe to use from threads."""

    def __init__(self, limit_bytes: int = DEFAULT_MEMORY_BYTES) -> None:
        self._half_bytes = max(limit_bytes // 2, 1)
        self._held_bytes = 0
        self._decoding_bytes = 0
        self._changed = threading.Condition()

    @contextmanager
    def share(self) -> Iterator["Share"]:
        """What one job takes for its bodies; all of it is given back afterwards."""
        share = Share(self)
        try:
            yield share
        finally:
            self._give_back(share.held_bytes)

    @contextmanager
    def decoding(self, size_bytes: int) -> Iterator[None]:
        """Wait until there is room to decode something of this size, alone where it is larger than all the room."""
        size_bytes = min(size_bytes, self._half_bytes)
        with self._changed:
            self._changed.wait_for(lambda: self._decoding_bytes + size_bytes <= self._half_bytes)
            self._decoding_bytes += size_bytes
        try:
            yield
        finally:
            with self._changed:
                self._decoding_bytes -= size_bytes
                self._changed.notify_all()

    def take(self, size_bytes: int) -> bool:
        """Whether there was room for so much more of bodies, which is then taken; see `share`."""
        with self._changed:
            if self._held_bytes + size_bytes > self._half_bytes:
                return False
            self._held_bytes += size_bytes
            return True

    def _give_back(self, size_bytes: int) -> None:
        with self._changed:
            self._held_bytes -= size_bytes


class Share:
    """The part of the memory that one job's bodies hold."""

    def __init__(self, memory: CopyMemory) -> None:
        self._memory = memory
        self.held_bytes = 0

    def take(self, size_bytes: int) -> bool:
        """Whether there was room for so much more, which is then held until the job is done."""
        if not self._memory.take(size_bytes):
            return False
        self.held_bytes += size_bytes
        return True
