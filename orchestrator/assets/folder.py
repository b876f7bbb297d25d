"""A folder as a destination: complete files only, durable on return, never overwritten by other content."""

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BufferedReader, FileIO
from pathlib import Path, PurePosixPath
from typing import BinaryIO
from uuid import uuid4

from orchestrator.assets.errors import DestinationFailed, ObjectExists
from orchestrator.assets.spool import sync
from orchestrator.base import faults
from orchestrator.base.errors import Unusable

_COPY_BYTES = 1024 * 1024
_DEFAULT_RIGHTS = "system.posix_acl_default"


class FolderDestination:
    """Files under `root`; content types and metadata have no place here, `index.json` keeps them."""

    def __init__(self, root: Path) -> None:
        self._root = Path(os.path.normpath(root))

    def describe(self) -> str:
        return self._root.as_uri()

    def uri(self, key: str) -> str:
        return self._path(key).as_uri()

    def probe(self) -> None:
        key = f".probe-{uuid4().hex}"
        try:
            self.put_bytes(key, b"probe", "text/plain")
            found = self.read(key)
            self._path(key).unlink()
        except (DestinationFailed, OSError) as error:
            reason = error.message if isinstance(error, DestinationFailed) else error.strerror
            raise Unusable(
                f"the destination cannot be used: {reason}", hint=f"make {self._root} a folder that you may write to"
            ) from None
        if found != b"probe":
            raise Unusable(f"the destination {self._root} does not give back what is written to it")

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
        target = self._path(key)
        with _failing(key):
            if not self._is_placed(content, target, sha256, may_link=may_link):
                if _hash(target) != sha256:
                    raise ObjectExists(f"{key}: the destination holds other content under this name")
                sync(target.parent)  # whoever named it may have been cut off before this
        return target.as_uri()

    def put_bytes(self, key: str, data: bytes, content_type: str) -> str:
        target = self._path(key)
        with _failing(key), self._part(target) as part:
            _write(part, data)
            os.fsync(part.fileno())
            faults.point("folder.written")
            Path(part.name).replace(target)
            sync(target.parent)
            faults.point("folder.named")
        return target.as_uri()

    def read(self, key: str) -> bytes | None:
        with _failing(key):
            try:
                return self._path(key).read_bytes()
            except FileNotFoundError:
                return None

    def open(self, key: str) -> BinaryIO | None:
        with _failing(key):
            try:
                return self._path(key).open("rb")
            except FileNotFoundError:
                return None

    def has(self, key: str) -> bool:
        with _failing(key):
            return self._path(key).is_file()

    def holds(self, key: str, sha256: str) -> bool:
        with _failing(key):
            try:
                return _hash(self._path(key)) == sha256
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                return False

    def _is_placed(self, content: bytes | Path, target: Path, sha256: str, *, may_link: bool) -> bool:
        """Give a file its name, complete and durable; False where there is one of that name."""
        if isinstance(content, bytes):
            return self._is_written(content, target)
        if target.exists():
            return False
        with content.open("rb") as source:
            if may_link and self._is_linked(source, target, sha256):
                return True
            return self._is_copied(source, target, sha256)

    def _is_written(self, data: bytes, target: Path) -> bool:
        with self._part(target) as part:
            _write(part, data)
            os.fsync(part.fileno())
            if os.pread(part.fileno(), len(data) + 1, 0) != data:
                raise DestinationFailed(f"{target.name}: the folder does not give back what is written to it")
            return _is_named(part, target)

    def _is_linked(self, source: BufferedReader, target: Path, sha256: str) -> bool:
        """A file of the same file system needs no copy."""
        _make_folder(target.parent)
        if not _is_like_a_new_file(source, target.parent):
            return False
        os.fsync(source.fileno())
        _require_same(Path(source.name), sha256, target)
        try:
            os.link(source.name, target)
        except OSError:  # another file system after all, or one without links; or somebody was first
            return False
        sync(target.parent)
        faults.point("folder.named")
        return True

    def _is_copied(self, source: BufferedReader, target: Path, sha256: str) -> bool:
        with self._part(target) as part:
            while data := source.read(_COPY_BYTES):
                _write(part, data)
            os.fsync(part.fileno())
            _require_same(Path(part.name), sha256, target)
            return _is_named(part, target)

    def _path(self, key: str) -> Path:
        parts = PurePosixPath(key).parts
        if not parts or ".." in parts or key.startswith("/") or "\0" in key:
            raise ValueError(f"not an object key: {key!r}")
        return self._root.joinpath(*parts)

    @contextmanager
    def _part(self, target: Path) -> Iterator[FileIO]:
        """A new file beside `target` to be moved there; gone afterwards if it was not."""
        _make_folder(target.parent)
        path = target.parent / f".{uuid4().hex}.part"
        try:
            with path.open("x+b", buffering=0) as file:
                faults.point("folder.opened")
                yield file
        finally:
            path.unlink(missing_ok=True)


def _write(file: FileIO, data: bytes) -> None:
    """All of it: one call may write less."""
    left = memoryview(data)
    while left:
        left = left[file.write(left) :]


def _require_same(path: Path, sha256: str, target: Path) -> None:
    """What was written is read again: not every file system that a folder can be on is to be believed."""
    if _hash(path) != sha256:
        raise DestinationFailed(f"{target.name}: the file to store is not what was downloaded")


def _is_like_a_new_file(source: BufferedReader, folder: Path) -> bool:
    """Whether a link in `folder` is what a new file there would be: where it hands on a group or rights, it is not."""
    there = folder.stat()
    if os.fstat(source.fileno()).st_dev != there.st_dev or there.st_mode & stat.S_ISGID:
        return False
    return not hasattr(os, "listxattr") or _DEFAULT_RIGHTS not in os.listxattr(folder)


def _is_named(part: FileIO, target: Path) -> bool:
    """Give a durable file its name; False where another writer was first."""
    faults.point("folder.written")
    try:
        os.link(part.name, target)
    except FileExistsError:
        return False
    except OSError:  # no hard links here (exFAT, some network mounts); the window is one system call wide
        if target.exists():
            return False
        Path(part.name).replace(target)
    sync(target.parent)
    faults.point("folder.named")
    return True


def _make_folder(folder: Path) -> None:
    """Make a folder whose entries in its parents survive a power cut."""
    try:
        folder.mkdir()
    except FileExistsError:
        return
    except FileNotFoundError:
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
    sync(folder.parent)


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _failing(key: str) -> Iterator[None]:
    try:
        yield
    except (FileExistsError, NotADirectoryError) as error:
        raise DestinationFailed(f"{error.filename or key}: a file is where a folder should be") from None
    except OSError as error:
        raise DestinationFailed(f"{error.filename or key}: {error.strerror or type(error).__name__}") from None
