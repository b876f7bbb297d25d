"""A folder as a destination: complete files only, durable on return, never overwritten by other content."""

import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO
from uuid import uuid4

from orchestrator.assets.errors import DestinationFailed, ObjectExists
from orchestrator.base import faults
from orchestrator.base.errors import Unusable

_COPY_BYTES = 1024 * 1024


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

    def put(self, key: str, path: Path, *, sha256: str, content_type: str, metadata: Mapping[str, str]) -> str:
        target = self._path(key)
        with _failing(key):
            if not target.exists():
                self._copy(path, target, sha256)
            if _hash(target) != sha256:
                raise ObjectExists(f"{key}: the destination holds other content under this name")
        return target.as_uri()

    def put_bytes(self, key: str, data: bytes, content_type: str) -> str:
        target = self._path(key)
        with _failing(key), self._part(target) as part:
            part.write(data)
            _sync(part)
            faults.point("folder.written")
            Path(part.name).replace(target)
            _sync_folder(target.parent)
            faults.point("folder.named")
        return target.as_uri()

    def read(self, key: str) -> bytes | None:
        with _failing(key):
            try:
                return self._path(key).read_bytes()
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

    def _copy(self, path: Path, target: Path, sha256: str) -> None:
        with path.open("rb") as source, self._part(target) as part:
            shutil.copyfileobj(source, part, _COPY_BYTES)
            _sync(part)
            if _hash(Path(part.name)) != sha256:
                raise DestinationFailed(f"{target.name}: the file to store is not what was downloaded")
            faults.point("folder.written")
            _name(Path(part.name), target)
            faults.point("folder.named")

    def _path(self, key: str) -> Path:
        parts = PurePosixPath(key).parts
        if not parts or ".." in parts or key.startswith("/") or "\0" in key:
            raise ValueError(f"not an object key: {key!r}")
        return self._root.joinpath(*parts)

    @contextmanager
    def _part(self, target: Path) -> Iterator[BinaryIO]:
        """A new file beside `target` to be moved there; gone afterwards if it was not."""
        _make_folder(target.parent)
        path = target.parent / f".{uuid4().hex}.part"
        try:
            with path.open("xb") as file:
                faults.point("folder.opened")
                yield file
        finally:
            path.unlink(missing_ok=True)


def _name(part: Path, target: Path) -> None:
    """Give a finished file its name, unless another writer was first."""
    try:
        os.link(part, target)
    except FileExistsError:
        return
    except OSError:  # no hard links here (exFAT, some network mounts); the window is one system call wide
        if target.exists():
            return
        part.replace(target)
    _sync_folder(target.parent)


def _make_folder(folder: Path) -> None:
    """Make a folder whose entries in its parents survive a power cut."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    _sync_folder(folder.parent)


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _failing(key: str) -> Iterator[None]:
    try:
        yield
    except (FileExistsError, NotADirectoryError) as error:
        raise DestinationFailed(f"{error.filename or key}: a file is where a folder should be") from None
    except OSError as error:
        raise DestinationFailed(f"{error.filename or key}: {error.strerror or type(error).__name__}") from None
