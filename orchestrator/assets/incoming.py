"""A body as it arrives: in memory while it is small and there is room, from then on in a file of the spool."""

import hashlib
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import ParamSpec, Protocol, Self, TypeVar

from orchestrator.assets.errors import CorruptAsset
from orchestrator.assets.memory import Share
from orchestrator.assets.spool import Part, Spool

P = ParamSpec("P")
T = TypeVar("T")
#: A file is written in pieces of this size: a visit to a thread for each chunk of the network would cost more, and what
#: waits for long is no longer in the processor's cache.
_BLOCK_BYTES = 512 * 1024


class InThread(Protocol):
    """Runs what blocks in a thread, as `asyncio.to_thread` does."""

    def __call__(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Awaitable[T]: ...


@dataclass(frozen=True, slots=True)
class Berth:
    """Where a body goes: up to a size the memory of its job, as long as there is some, else a file of the spool."""

    spool: Spool
    asset_id: str
    memory: Share
    most_in_memory_bytes: int
    in_thread: InThread


@dataclass(frozen=True, slots=True)
class Fetched:
    """A body that is here: its bytes, not hashed yet, or the file that they are in and their SHA-256 (hex)."""

    content: bytes | Path
    size_bytes: int
    sha256: str = ""

    def hexdigest(self) -> str:
        """The SHA-256 (hex) in either case. Blocks on CPU."""
        return self.sha256 if isinstance(self.content, Path) else hashlib.sha256(self.content).hexdigest()


class Incoming:
    """Takes the chunks of one body. Leaving its `with` block before `finish` leaves nothing behind."""

    def __init__(self, berth: Berth, max_bytes: int) -> None:
        self._berth = berth
        self._max_bytes = max_bytes
        self._expected_bytes = 0
        self._size_bytes = 0
        self._chunks: list[bytes] = []
        self._waiting_bytes = 0
        self._part: Part | None = None
        self._undoing = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._undoing.close()

    def expect(self, size_bytes: int) -> None:
        """What is said to come, 0 where nothing is: so that a large body goes to a file from its first byte on."""
        self._expected_bytes = size_bytes

    async def add(self, chunk: bytes) -> None:
        """Take the next bytes. Raises CorruptAsset where they are too many, SpoolFailed."""
        self._size_bytes += len(chunk)
        if self._size_bytes > self._max_bytes:
            raise CorruptAsset(f"the asset is larger than {self._max_bytes} bytes")
        self._chunks.append(chunk)
        self._waiting_bytes += len(chunk)
        if self._part is None and not self._fits(len(chunk)):
            self._part = await self._opened()
        if self._part is not None and self._waiting_bytes >= _BLOCK_BYTES:
            await self._berth.in_thread(self._part.write, self._waiting())

    async def finish(self) -> Fetched:
        """All of it has come. Raises SpoolFailed."""
        if self._part is None:
            return Fetched(b"".join(self._chunks), self._size_bytes)
        return await self._berth.in_thread(self._committed, self._part, self._waiting())

    async def _opened(self) -> Part:
        await self._berth.in_thread(self._berth.spool.require_room)
        part = self._berth.spool.open_part(self._berth.asset_id)
        self._undoing.enter_context(part.discarded_unless_committed())
        return part

    def _fits(self, more_bytes: int) -> bool:
        is_small = max(self._expected_bytes, self._size_bytes) <= self._berth.most_in_memory_bytes
        return is_small and self._berth.memory.take(more_bytes)

    def _waiting(self) -> list[bytes]:
        waiting, self._chunks, self._waiting_bytes = self._chunks, [], 0
        return waiting

    def _committed(self, part: Part, last: list[bytes]) -> Fetched:
        part.write(last)
        return Fetched(part.final, self._size_bytes, part.commit())
