"""The folder where files wait between download and destination: bounded, swept of what a crash left.

Small files pass through memory instead; here wait those that are large, and those that a destination does not take.
"""

import hashlib
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from orchestrator.assets.errors import SpoolFailed
from orchestrator.assets.memory import DEFAULT_MEMORY_BYTES, CopyMemory
from orchestrator.base import faults

DEFAULT_CAP_BYTES = 20 * 1024**3
_STALE_SECONDS = 24 * 3600
_SAFE_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")
#: Of these assets, those whose files nobody will ask for any more.
FindUnneeded = Callable[[Sequence[str]], Iterable[str]]


class Spool:
    """Files under `folder`, named by asset id; unfinished ones end in `.part`. `memory` is for those that are small."""

    def __init__(
        self,
        folder: Path,
        *,
        cap_bytes: int = DEFAULT_CAP_BYTES,
        memory_bytes: int = DEFAULT_MEMORY_BYTES,
        find_unneeded: FindUnneeded = lambda asset_ids: (),
    ) -> None:
        self._folder = folder
        self._find_unneeded = find_unneeded
        self.cap_bytes = cap_bytes
        self.memory = CopyMemory(memory_bytes)
        #: When it was looked at last, it was not half full, and since then we have written nothing to it.
        self.is_roomy = False
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise SpoolFailed(f"the spool {folder} cannot be made: {error.strerror}") from None

    def path(self, asset_id: str) -> Path:
        """Where the asset's file is, or will be."""
        if not _SAFE_ID.fullmatch(asset_id):
            raise ValueError(f"not an asset id: {asset_id!r}")
        return self._folder / asset_id

    def usage_bytes(self) -> int:
        """Bytes of all files, unfinished ones included."""
        return sum(size for _, size, _ in self._files())

    def require_room(self) -> None:
        """Raise SpoolFailed when the cap is reached, even without what can be swept; ask before each download, which
        may pass it.
        """
        with _spooling():
            used = self.usage_bytes()
            if used >= self.cap_bytes and self.sweep():
                used = self.usage_bytes()
        self.is_roomy = used < self.cap_bytes // 2
        if used >= self.cap_bytes:
            raise SpoolFailed(
                f"the spool {self._folder} is full: it holds {used} of at most {self.cap_bytes} bytes",
                hint="raise ORCHESTRATOR_SPOOL_BYTES, or repair the destination that its files wait for",
            )

    def open_part(self, asset_id: str) -> "Part":
        """A new file for an asset: see `require_room` first. Raises SpoolFailed."""
        self.is_roomy = False
        return Part(self.path(asset_id))

    def keep(self, asset_id: str, content: bytes | Path) -> None:
        """Make a file durable here, from memory or where it was fetched to, so that it need not be fetched again.

        Raises SpoolFailed.
        """
        if isinstance(content, bytes):
            self.require_room()
            part = self.open_part(asset_id)
            with part.discarded_unless_committed():
                part.write([content])
                part.commit()
        with _spooling():
            sync(self.path(asset_id))
            sync(self._folder)

    def discard(self, asset_id: str) -> None:
        """Forget a file, which is stored or gone for good."""
        self.path(asset_id).unlink(missing_ok=True)
        faults.point("spool.discarded")

    def sweep(self) -> int:
        """Delete what nobody comes back for; returns how many files that were.

        These are `.part` files older than a day, left by processes that died, and whole ones whose copy was broken off
        here and completed elsewhere.
        """
        oldest = time.time() - _STALE_SECONDS
        files = self._files()
        left = [path for path, _, modified in files if path.suffix == ".part" and modified < oldest]
        whole = [path.name for path, _, _ in files if _SAFE_ID.fullmatch(path.name)]
        if whole:
            left += [self.path(asset_id) for asset_id in self._find_unneeded(whole)]
        for path in left:
            path.unlink(missing_ok=True)
        return len(left)

    def _files(self) -> list[tuple[Path, int, float]]:
        """Path, bytes and time of change of each file; others may delete them meanwhile."""
        found = []
        for path in self._folder.iterdir():
            try:
                stat = path.stat()
            except FileNotFoundError:
                continue
            found.append((path, stat.st_size, stat.st_mtime))
        return found


class Part:
    """A file being written next to its final place, under a name that no other download shares. All of it blocks."""

    def __init__(self, final: Path) -> None:
        self.final = final
        self._digest = hashlib.sha256()
        self._path = final.with_name(f"{final.name}.{uuid4().hex[:8]}.part")
        with _spooling():
            self._file = self._path.open("xb")
        faults.point("spool.opened")

    def write(self, chunks: Iterable[bytes]) -> None:
        for chunk in chunks:
            self._digest.update(chunk)
            with _spooling():
                self._file.write(chunk)

    def commit(self) -> str:
        """Put the file in its final place, though not yet past a power cut; returns its SHA-256 (hex)."""
        with _spooling():
            self._file.close()
            faults.point("spool.written")
            self._path.replace(self.final)
            faults.point("spool.named")
        return self._digest.hexdigest()

    @contextmanager
    def discarded_unless_committed(self) -> Iterator[None]:
        try:
            yield
        finally:
            self._close_quietly()
            self._path.unlink(missing_ok=True)

    def _close_quietly(self) -> None:
        try:
            self._file.close()
        except OSError:
            return  # a full disk: the write that met it has been reported


def sync(path: Path) -> None:
    """Make a file's bytes, or a folder's entries, durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _spooling() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SpoolFailed(
            f"the spool cannot be written: {error.strerror}", hint="free space under ORCHESTRATOR_HOME"
        ) from None
