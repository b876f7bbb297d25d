"""Reads the files of a manifest: itself, its rows and what it includes, in a folder or on S3."""

import posixpath
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

MAX_BYTES = 32 * 1024 * 1024
"""Of a manifest in YAML or JSON."""
MAX_ROWS_BYTES = 512 * 1024 * 1024
"""Of a CSV or JSONL file."""


class Remote(Protocol):
    """Reads objects that are not on this machine."""

    def read(self, uri: str) -> bytes:
        """The bytes at an s3:// URI. Raises RemoteFault."""
        ...


class RemoteFault(Exception):
    """Why an object cannot be read, as the end of a sentence: `does not exist`."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class RemoteOutage(RemoteFault):
    """Why nobody can say now whether an object is there: the storage does not answer, or does not let us in."""


class SourceFault(Exception):
    """Why a file cannot be read, as the end of a sentence: `is a directory`."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


@dataclass(frozen=True, slots=True)
class Sources:
    """Where relative names are looked for (`folder`: a path or s3://bucket/prefix), and who reads s3://."""

    folder: str = ""
    remote: Remote | None = None

    def read(self, name: str, max_bytes: int) -> bytes:
        """The bytes of a path or URI; raises SourceFault."""
        whole = name if "://" in name or not self.folder.startswith("s3://") else uri_beside(self.folder, name)
        scheme, separator, _ = whole.partition("://")
        if not separator:
            return _read_file(Path(self.folder) / name, max_bytes)
        if scheme.lower() != "s3":
            raise SourceFault("must be a path or an s3:// URI")
        if self.remote is None:
            raise SourceFault("cannot be read: nothing here reads s3://")
        try:
            data = self.remote.read(whole)
        except RemoteFault as fault:
            raise SourceFault(fault.message) from None
        return _within(data, max_bytes)


def uri_of(path: Path) -> str:
    """The path as text; an s3:// URI is whole again (a Path makes one slash of two)."""
    text = str(path)
    return f"s3://{text[4:]}" if text.startswith("s3:/") and not text.startswith("s3://") else text


def uri_beside(folder: str, name: str) -> str:
    """The URI of what a relative name (`./photos/a.png`) means in a folder on S3."""
    return f"s3:/{posixpath.normpath(f'{folder[4:]}/{name}')}"


def is_within(uri: str, folder: str, other: str) -> bool:
    """Whether an s3:// URI is in a manifest's folder, or in another one as it would be written in the manifest."""
    roots = [folder, uri_beside(folder, other)] if folder.startswith("s3://") else []
    if other.startswith("s3://"):
        roots.append(other)
    return ".." not in uri.split("/") and any(uri.startswith(f"{root}/") for root in roots)


def folder_of(path: Path) -> str:
    """The folder, or the prefix on S3, that a manifest's relative names belong to."""
    return uri_of(path.parent)


def _read_file(path: Path, max_bytes: int) -> bytes:
    try:
        if path.expanduser().is_dir():
            raise SourceFault("is a directory")
        with path.expanduser().open("rb") as file:
            return _within(file.read(max_bytes + 1), max_bytes)
    except (OSError, ValueError, RuntimeError) as error:
        raise SourceFault(f"cannot be read: {getattr(error, 'strerror', None) or error}") from None


def _within(data: bytes, max_bytes: int) -> bytes:
    if len(data) > max_bytes:
        raise SourceFault(f"is larger than {max_bytes // 1024 // 1024} MiB; keep media in files beside it")
    return data
