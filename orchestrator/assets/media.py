"""Input media by content hash, so that a request can be rebuilt byte for byte on any worker."""

import hashlib
import threading
from collections import OrderedDict
from pathlib import Path

from orchestrator.assets.destination import Destination, read_object
from orchestrator.assets.errors import MediaMissing

_CACHE_BYTES = 256 * 1024**2
_BINARY = "application/octet-stream"


class MediaStore:
    """Files named by the SHA-256 (hex) of their bytes, in a folder or a bucket. Blocks; safe to use from threads."""

    def __init__(self, destination: Destination, *, cache_bytes: int = _CACHE_BYTES) -> None:
        self._destination = destination
        self._cache = _RecentBytes(cache_bytes)

    def put_file(self, sha256: str, path: Path) -> None:
        """Keep a file whose hash is known; keeping it again changes nothing. Raises DestinationFailed."""
        self._destination.put(media_key(sha256), path, sha256=sha256, content_type=_BINARY, metadata={})

    def put_bytes(self, sha256: str, data: bytes) -> None:
        """Keep bytes whose hash is known. Raises DestinationFailed; ValueError when it is another hash."""
        if hashlib.sha256(data).hexdigest() != sha256:
            raise ValueError("the bytes do not have the hash they are kept under")
        if self._cache.get(sha256) is None:
            self._destination.put_bytes(media_key(sha256), data, _BINARY)
            self._cache.add(sha256, data)

    def read(self, sha256: str) -> bytes:
        """The bytes, checked against their hash. Raises MediaMissing, DestinationFailed."""
        data = self._cache.get(sha256)
        if data is None:
            data = self._read_checked(sha256)
            self._cache.add(sha256, data)
        return data

    def _read_checked(self, sha256: str) -> bytes:
        data = self._destination.read(media_key(sha256))
        if data is not None and hashlib.sha256(data).hexdigest() == sha256:
            return data
        what = "is not in" if data is None else "has changed in"
        raise MediaMissing(
            f"the input file {sha256[:12]} {what} the media store {self._destination.describe()}",
            hint="give every worker the same ORCHESTRATOR_MEDIA, or submit the manifest again where the file is",
        )


class StoredResults:
    """Files of completed jobs, for the requests that need them. Blocks; safe to use from threads."""

    def __init__(self, *, cache_bytes: int = _CACHE_BYTES) -> None:
        self._cache = _RecentBytes(cache_bytes)

    def read(self, uri: str, sha256: str) -> bytes:
        """The bytes at a stored URI, checked against their hash. Raises MediaMissing, DestinationFailed."""
        data = self._cache.get(sha256)
        if data is None:
            data = read_object(uri)
            if data is None or hashlib.sha256(data).hexdigest() != sha256:
                what = "is no longer" if data is None else "has changed"
                raise MediaMissing(
                    f"the stored file that this job needs {what} at {uri}",
                    hint="put it back, or buy the job that made it again",
                )
            self._cache.add(sha256, data)
        return data


def media_key(sha256: str) -> str:
    """Where a media store has the bytes of a hash."""
    return f"{sha256[:2]}/{sha256}"


class _RecentBytes:
    """The most recently used values, up to a number of bytes in all."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._held_bytes = 0
        self._values: OrderedDict[str, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, name: str) -> bytes | None:
        with self._lock:
            value = self._values.get(name)
            if value is not None:
                self._values.move_to_end(name)
            return value

    def add(self, name: str, value: bytes) -> None:
        with self._lock:
            self._held_bytes += len(value) - len(self._values.pop(name, b""))
            self._values[name] = value
            while self._held_bytes > self._limit_bytes:
                _, dropped = self._values.popitem(last=False)
                self._held_bytes -= len(dropped)
