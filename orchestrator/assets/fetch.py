"""Download one asset: bounded, and there only when it is whole. Small ones stay in memory, others become files."""

import asyncio
import zlib
from collections.abc import Iterator

from aiohttp import ClientError

from orchestrator.assets.address import without_query
from orchestrator.assets.client import AssetResponse, AssetSource
from orchestrator.assets.errors import SourceGone, SourceUnavailable
from orchestrator.assets.incoming import Berth, Fetched, Incoming
from orchestrator.base import faults
from orchestrator.base.clock import SYSTEM_CLOCK, Clock
from orchestrator.base.retry_after import retry_after_seconds

MAX_BYTES = 2 * 1024**3
TOTAL_SECONDS = 1800.0
_CHUNK_BYTES = 256 * 1024
_GONE = (401, 403, 404, 410)


async def fetch(
    source: AssetSource,
    url: str,
    berth: Berth,
    *,
    max_bytes: int = MAX_BYTES,
    total_seconds: float = TOTAL_SECONDS,
    clock: Clock = SYSTEM_CLOCK,
) -> Fetched:
    """Download `url` to `berth`; a file there is a body that arrived in full.

    A body cut short is found where the server gave a length or chunks; otherwise only by `verify`.
    Raises AddressRefused, SourceGone, SourceUnavailable, SpoolFailed, and CorruptAsset over `max_bytes`.
    """
    shown = without_query(url)
    try:
        faults.point("fetch.request")
        async with asyncio.timeout(total_seconds), source.get(url) as response:
            faults.point("fetch.answered")
            _check_status(response, shown, clock)
            return await _receive(response, Incoming(berth, max_bytes), shown)
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
    wished = retry_after_seconds(response.headers.get("Retry-After"), clock)
    raise SourceUnavailable(message, retry_after_seconds=wished)


async def _receive(response: AssetResponse, incoming: Incoming, shown: str) -> Fetched:
    with incoming:
        body = _Decoded(response.headers.get("Content-Encoding", "identity").strip().lower())
        incoming.expect(_content_length(response))
        async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
            for piece in body.pieces(chunk, shown):
                await incoming.add(piece)
        body.check_end(shown)
        return await incoming.finish()


def _content_length(response: AssetResponse) -> int:
    """What the server says is to come; 0 where it does not."""
    value = response.headers.get("Content-Length", "")
    return int(value) if value.isdecimal() else 0


class _Decoded:
    """Undoes gzip where a server sends it although `identity` was asked for; the bytes have the last word."""

    def __init__(self, encoding: str) -> None:
        self._may_be_gzip = encoding in ("gzip", "x-gzip")
        self._gzip = zlib.decompressobj(wbits=31)
        self._started = False

    def pieces(self, chunk: bytes, shown: str) -> Iterator[bytes]:
        """The chunk's content, no piece larger than a chunk: a few bytes of gzip may hold a thousand times as many."""
        if not self._started:
            self._started = True
            self._may_be_gzip = self._may_be_gzip and chunk.startswith(b"\x1f\x8b"[: len(chunk)])
        if not self._may_be_gzip:
            yield chunk
            return
        while not self._gzip.eof:  # what follows the end is let go of
            try:
                piece = self._gzip.decompress(chunk, _CHUNK_BYTES)
            except zlib.error:
                raise SourceUnavailable(f"{shown}: damaged gzip body") from None
            yield piece
            chunk = self._gzip.unconsumed_tail
            if not chunk and len(piece) < _CHUNK_BYTES:
                return

    def check_end(self, shown: str) -> None:
        if self._may_be_gzip and not self._gzip.eof:
            raise SourceUnavailable(f"{shown}: gzip body cut short")
