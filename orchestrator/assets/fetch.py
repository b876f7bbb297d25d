"""Download one asset into a file: streamed, hashed, bounded, and in place only when it is whole."""

import asyncio
import hashlib
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from pathlib import Path
from uuid import uuid4

from aiohttp import ClientError

from orchestrator.assets.address import without_query
from orchestrator.assets.client import AssetResponse, AssetSource
from orchestrator.assets.errors import CorruptAsset, SourceGone, SourceUnavailable, SpoolFailed
from orchestrator.base import faults
from orchestrator.base.clock import SYSTEM_CLOCK, Clock

MAX_BYTES = 2 * 1024**3
TOTAL_SECONDS = 1800.0
_CHUNK_BYTES = 256 * 1024
_GONE = (401, 403, 404, 410)


@dataclass(frozen=True, slots=True)
class Fetched:
    """A downloaded body; `content_type` is what the server called it, without parameters."""

    path: Path
    sha256: str
    size_bytes: int
    content_type: str | None


async def fetch(
    source: AssetSource,
    url: str,
    spool_path: Path,
    *,
    max_bytes: int = MAX_BYTES,
    total_seconds: float = TOTAL_SECONDS,
    clock: Clock = SYSTEM_CLOCK,
) -> Fetched:
    """Download `url` to `spool_path`, which holds either nothing or a body that arrived in full.

    A body cut short is found where the server gave a length or chunks; otherwise only by `verify`.
    Raises AddressRefused, SourceGone, SourceUnavailable, SpoolFailed, and CorruptAsset over `max_bytes`.
    """
    shown = without_query(url)
    try:
        faults.point("fetch.request")
        async with asyncio.timeout(total_seconds), source.get(url) as response:
            faults.point("fetch.answered")
            _check_status(response, shown, clock)
            return await _receive(response, _Part(spool_path, max_bytes), shown)
    except TimeoutError:
        raise SourceUnavailable(f"{shown}: timed out") from None
    except (ClientError, OSError) as error:  # its text may hold the whole URL: only its kind is kept
        raise SourceUnavailable(f"{shown}: {type(error).__name__}") from None


def _check_status(response: AssetResponse, shown: str, clock: Clock) -> None:
    if response.status == 200:
        return
    message = f"{shown}: HTTP {response.status}"
    if response.status in _GONE:
        raise SourceGone(message, status=response.status)
    raise SourceUnavailable(message, retry_after_seconds=_retry_after(response.headers.get("Retry-After"), clock))


def _retry_after(value: str | None, clock: Clock) -> float | None:
    """Seconds of a Retry-After header in either form (RFC 9110, 10.2.3); None where there is none to read."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        at = parsedate_to_datetime(value)
    except ValueError:
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max(0.0, (at - clock.now()).total_seconds())


async def _receive(response: AssetResponse, part: "_Part", shown: str) -> Fetched:
    with part.discarded_unless_committed():
        body = _Decoded(response.headers.get("Content-Encoding", "identity").strip().lower())
        async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
            part.write(body.decode(chunk, shown))
        body.check_end(shown)
        await asyncio.to_thread(part.commit)
    content_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    return Fetched(part.final, part.digest.hexdigest(), part.size_bytes, content_type or None)


class _Decoded:
    """Undoes gzip where a server sends it although `identity` was asked for; the bytes have the last word."""

    def __init__(self, encoding: str) -> None:
        self._may_be_gzip = encoding in ("gzip", "x-gzip")
        self._gzip = zlib.decompressobj(wbits=31)
        self._started = False

    def decode(self, chunk: bytes, shown: str) -> bytes:
        if not self._started:
            self._started = True
            self._may_be_gzip = self._may_be_gzip and chunk.startswith(b"\x1f\x8b"[: len(chunk)])
        if not self._may_be_gzip:
            return chunk
        try:
            return self._gzip.decompress(chunk)
        except zlib.error:
            raise SourceUnavailable(f"{shown}: damaged gzip body") from None

    def check_end(self, shown: str) -> None:
        if self._may_be_gzip and not self._gzip.eof:
            raise SourceUnavailable(f"{shown}: gzip body cut short")


class _Part:
    """A file being written next to its final place, under a name that no other download shares."""

    def __init__(self, final: Path, max_bytes: int) -> None:
        self.final = final
        self.digest = hashlib.sha256()
        self.size_bytes = 0
        self._max_bytes = max_bytes
        self._path = final.with_name(f"{final.name}.{uuid4().hex[:8]}.part")
        with _spooling():
            self._file = self._path.open("xb")
        faults.point("spool.opened")

    def write(self, data: bytes) -> None:
        self.size_bytes += len(data)
        if self.size_bytes > self._max_bytes:
            raise CorruptAsset(f"the asset is larger than {self._max_bytes} bytes")
        self.digest.update(data)
        with _spooling():
            self._file.write(data)

    def commit(self) -> None:
        """Make the file durable and put it in its final place."""
        with _spooling():
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            faults.point("spool.written")
            self._path.replace(self.final)
            faults.point("spool.named")

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


@contextmanager
def _spooling() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SpoolFailed(
            f"the spool cannot be written: {error.strerror}", hint="free space under ORCHESTRATOR_HOME"
        ) from None
