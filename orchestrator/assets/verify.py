"""Is this file the whole picture or video it should be? What it is, is decided by its bytes alone."""

import mmap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from orchestrator.assets import containers
from orchestrator.assets.containers import Bytes
from orchestrator.assets.errors import CorruptAsset, NotAnAsset
from orchestrator.assets.memory import CopyMemory
from orchestrator.assets.pictures import decode_picture
from orchestrator.assets.videos import decode_video

Kind = Literal["image", "video"]
MAX_PICTURE_BYTES = 512 * 1024**2
_SAYS_NOTHING = ("", "application/octet-stream", "binary/octet-stream")
_KIND_OF_APPLICATION_TYPES = {"application/mp4": "video"}


@dataclass(frozen=True, slots=True)
class Verified:
    """What the file really is; `ext` has its dot, pixels are as stored, `duration_seconds` is for videos."""

    mime_type: str
    ext: str
    width: int | None
    height: int | None
    duration_seconds: float | None


def text_file(declared_mime: str | None) -> Verified:
    """What a text is that was never a file: whoever took it has made sure of it."""
    mime_type = declared_mime or "text/plain; charset=utf-8"
    return Verified(mime_type, ".json" if mime_type == "application/json" else ".txt", None, None, None)


@dataclass(frozen=True, slots=True)
class _Format:
    """A type we accept: `decoder` is Pillow's name of the format, or FFmpeg's name of the demuxer."""

    kind: Kind
    mime_type: str
    ext: str
    decoder: str
    check_whole: Callable[[Bytes], None]


_movie = partial(containers.check_isobmff, required=frozenset((b"moov", b"mdat")))
_still = partial(containers.check_isobmff, required=frozenset((b"meta", b"mdat")))

_PNG = _Format("image", "image/png", ".png", "PNG", containers.check_png)
_JPEG = _Format("image", "image/jpeg", ".jpg", "JPEG", containers.check_jpeg)
_WEBP = _Format("image", "image/webp", ".webp", "WEBP", containers.check_webp)
_GIF = _Format("image", "image/gif", ".gif", "GIF", containers.check_gif)
_AVIF = _Format("image", "image/avif", ".avif", "AVIF", _still)
_MP4 = _Format("video", "video/mp4", ".mp4", "mov", _movie)
_MOV = _Format("video", "video/quicktime", ".mov", "mov", _movie)
_WEBM = _Format("video", "video/webm", ".webm", "matroska", containers.check_matroska)
_MATROSKA = _Format("video", "video/x-matroska", ".mkv", "matroska", containers.check_matroska)


def verify(content: bytes | Path, kind: Kind, declared_mime: str | None, memory: CopyMemory) -> Verified:
    """What a downloaded file is, if it is a whole `kind`. Blocks on CPU and disk: call it in a thread.

    `declared_mime` (of the provider or its server) must be of the same kind; a differing subtype is corrected
    by the bytes. It decodes as `memory` has room. Raises CorruptAsset with the reason, OSError when the file cannot
    be read.
    """
    with _opened(content) as data:
        _check_declared(kind, declared_mime)
        found = _recognise(data[:64])
        if found is None:
            raise NotAnAsset(f"the file is something else, not {kind}")
        if found.kind != kind:
            raise CorruptAsset(f"the file is {found.mime_type}, not {kind}")
        if kind == "image" and len(data) > MAX_PICTURE_BYTES:
            raise CorruptAsset(f"the picture is larger than {MAX_PICTURE_BYTES} bytes")
        found.check_whole(data)
        if kind == "image":
            width, height = decode_picture(data, found.decoder, memory)
            return Verified(found.mime_type, found.ext, width, height, None)
    facts = decode_video(content, found.decoder, memory)
    return Verified(found.mime_type, found.ext, facts.width, facts.height, facts.duration_seconds)


@contextmanager
def _opened(content: bytes | Path) -> Iterator[Bytes]:
    """The bytes, or a view of the file: however large it is, it takes no memory."""
    size = len(content) if isinstance(content, bytes) else content.stat().st_size
    if size == 0:
        raise NotAnAsset("the file is empty")
    if isinstance(content, bytes):
        yield content
        return
    with content.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        yield data


def _check_declared(kind: Kind, declared_mime: str | None) -> None:
    declared = (declared_mime or "").partition(";")[0].strip().lower()
    if declared in _SAYS_NOTHING:
        return
    if _KIND_OF_APPLICATION_TYPES.get(declared, declared.partition("/")[0]) != kind:
        raise CorruptAsset(f"it is declared to be {declared[:80]}, not {kind}")


def _recognise(head: bytes) -> _Format | None:
    """The format that a file's first 64 bytes name."""
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return _PNG
    if head.startswith(b"\xff\xd8\xff"):
        return _JPEG
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return _WEBP
    if head.startswith((b"GIF87a", b"GIF89a")):
        return _GIF
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return _WEBM if b"webm" in head else _MATROSKA
    if head[4:8] == b"ftyp":
        if b"avif" in head or b"avis" in head:
            return _AVIF
        return _MOV if head[8:12] == b"qt  " else _MP4
    return None
