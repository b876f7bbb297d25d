"""Where assets go: an S3 bucket or a folder, behind one protocol. All of it blocks: call it in a thread."""

from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, Protocol
from urllib.parse import unquote, urlsplit

from orchestrator.assets.folder import FolderDestination
from orchestrator.assets.s3 import S3Destination
from orchestrator.base.errors import Unusable


class Destination(Protocol):
    """Keys are relative, with `/` between parts, as `assets.keys` makes them. Safe to use from several threads.

    Every method but `describe`, `uri` and `probe` raises DestinationFailed, which is worth trying again.
    """

    def describe(self) -> str:
        """The destination's own URI in its canonical spelling."""
        ...

    def probe(self) -> None:
        """Write, read and delete an object; raises Unusable with the reason and what to do."""
        ...

    def put(
        self,
        key: str,
        content: bytes | Path,
        *,
        sha256: str,
        content_type: str,
        metadata: Mapping[str, str],
        may_link: bool = False,
    ) -> str:
        """Store the bytes, or the file, whose hash (hex) this is and return its URI.

        The same content under the same key again is a success; other content is never overwritten (ObjectExists).
        On return the object is durable. A file that is not what its hash says any more is not stored. `may_link`: it
        is a file of ours that nobody writes to again, and may become the object itself.
        """
        ...

    def put_bytes(self, key: str, data: bytes, content_type: str) -> str:
        """Store or replace a small object at once, never half of it; returns its URI."""
        ...

    def read(self, key: str) -> bytes | None:
        """The object's bytes, None where there is none."""
        ...

    def open(self, key: str) -> BinaryIO | None:
        """The object as a file, however large it is, which can be sought in and is to be closed; None where there is
        none.
        """
        ...

    def has(self, key: str) -> bool:
        """Whether there is an object of this name, whatever it holds."""
        ...

    def holds(self, key: str, sha256: str) -> bool:
        """Whether the object is there with just this content, by the hash that the destination vouches for.

        An object that nobody vouches for is read. Where the destination does not tell whether there is one, that is
        a failure, and not a no.
        """
        ...

    def uri(self, key: str) -> str:
        """Where the object is, or would be: `s3://bucket/...` or an absolute `file:///...`."""
        ...


def open_destination(uri: str) -> Destination:
    """The destination for `s3://bucket/prefix`, a local path or `file:///...`; touches nothing yet.

    Raises Unusable for any other URI.
    """
    if uri.startswith("s3://"):
        bucket, _, prefix = uri.removeprefix("s3://").partition("/")
        if not bucket:
            raise Unusable(f"the destination {uri} names no bucket", hint="write it as s3://bucket/prefix")
        return S3Destination(bucket, prefix.strip("/"))
    if uri.startswith("file:"):
        parts = urlsplit(uri)
        if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
            raise Unusable(f"the destination {uri} is not a local folder", hint="write it as file:///folder")
        return FolderDestination(Path(unquote(parts.path)))
    if "://" in uri:
        scheme = uri.partition("://")[0]
        raise Unusable(f"a destination of the kind {scheme}:// is not known", hint="use s3://bucket/prefix or a folder")
    if not uri.strip():
        raise Unusable("the destination is empty", hint="use s3://bucket/prefix or a folder")
    return FolderDestination(Path(uri).expanduser().absolute())


def read_object(uri: str) -> bytes | None:
    """The bytes of an object by the URI that a destination gave it, None where there is none.

    Raises DestinationFailed.
    """
    folder, key = _place_of(uri)
    return folder.read(key)


def open_object(uri: str) -> BinaryIO | None:
    """An object by its URI as a file; see `Destination.open`. Raises DestinationFailed."""
    folder, key = _place_of(uri)
    return folder.open(key)


def has_object(uri: str) -> bool:
    """Whether there is an object at the URI that a destination gave it. Raises DestinationFailed."""
    folder, key = _place_of(uri)
    return folder.has(key)


def _place_of(uri: str) -> tuple[Destination, str]:
    folder, _, name = uri.rpartition("/")
    return open_destination(folder), unquote(name) if uri.startswith("file:") else name
