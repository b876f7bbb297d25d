"""The folder where originals wait between download and destination: bounded, swept of what a crash left."""

import re
import time
from pathlib import Path

from orchestrator.assets.errors import SpoolFailed
from orchestrator.base import faults

DEFAULT_CAP_BYTES = 20 * 1024**3
_STALE_SECONDS = 24 * 3600
_SAFE_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")


class Spool:
    """Downloaded originals under `folder`, named by asset id; unfinished ones end in `.part` (see `fetch`)."""

    def __init__(self, folder: Path, *, cap_bytes: int = DEFAULT_CAP_BYTES) -> None:
        self._folder = folder
        self.cap_bytes = cap_bytes
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise SpoolFailed(f"the spool {folder} cannot be made: {error.strerror}") from None

    def path(self, asset_id: str) -> Path:
        """Where the asset's verified original is, or will be."""
        if not _SAFE_ID.fullmatch(asset_id):
            raise ValueError(f"not an asset id: {asset_id!r}")
        return self._folder / asset_id

    def usage_bytes(self) -> int:
        """Bytes of all files, unfinished ones included."""
        return sum(size for _, size, _ in self._files())

    def require_room(self, size_bytes: int = 0) -> None:
        """Raise SpoolFailed when `size_bytes` more would pass the cap; ask before each download."""
        used = self.usage_bytes()
        if used + size_bytes >= self.cap_bytes:
            raise SpoolFailed(
                f"the spool holds {used} of at most {self.cap_bytes} bytes",
                hint="repair the destination; what waits is stored as soon as it takes objects again",
            )

    def discard(self, asset_id: str) -> None:
        """Forget an original, which is stored or gone for good."""
        self.path(asset_id).unlink(missing_ok=True)
        faults.point("spool.discarded")

    def sweep(self) -> int:
        """Delete `.part` files older than a day, left by processes that died; returns how many."""
        oldest = time.time() - _STALE_SECONDS
        stale = [path for path, _, modified in self._files() if path.suffix == ".part" and modified < oldest]
        for path in stale:
            path.unlink(missing_ok=True)
        return len(stale)

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
