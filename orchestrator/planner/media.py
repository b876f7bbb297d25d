"""One media value of a manifest: https URL, data URL, raw base64 or local file, judged and made ready to send."""

import base64
import binascii
import hashlib
import re
import warnings
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Literal, Protocol
from urllib.parse import urlsplit

from orchestrator.base.diagnostics import Code
from orchestrator.manifest import files as manifest_files
from orchestrator.manifest.files import is_within, uri_beside, uri_of
from orchestrator.manifest.values import shorten
from orchestrator.planner.decode import Picture, UnreadableMediaError, read_picture, read_sound
from orchestrator.planner.result import MediaBlob

MediaKind = Literal["image", "audio"]

_SCHEME = re.compile(r"\s*([A-Za-z][A-Za-z0-9+.-]*)://|\s*(file|blob|cid|attachment):", re.IGNORECASE)
_PLAIN_URL = re.compile(r"https://[a-z0-9][a-z0-9.-]*(?:/[!-~]*)?")
"""What is a whole URL without a closer look."""
_DATA_URL = re.compile(r"data:(?P<mime>[a-z]+/[a-z0-9.+-]+)(?:;[a-z0-9=_.+-]+)*;base64,", re.IGNORECASE)
_BASE64 = re.compile(r"[A-Za-z0-9+/\s]+={0,2}\s*")
_BASE64_STARTS = ("iVBORw0KGgo", "/9j/", "R0lGOD", "UklGR", "Qk0", "SUkq", "TU0AKg", "SUQz", "T2dnU", "ZkxhQ")
_SURELY_BASE64 = 64  # characters of its alphabet alone: no one names a file like that
_LIKELY_BASE64 = 16
_MAX_PATH_PART = 255  # bytes; what file systems allow
_NO_FILES = ("https://", "data:")
_AT_ONCE = 4  # pictures; a large one takes hundreds of MB while it is decoded


class Remote(manifest_files.Remote, Protocol):
    """Reads objects that are not on this machine, large ones by way of a file."""

    def file(self, uri: str) -> Path:
        """A file that holds what is at an s3:// URI now. Raises RemoteFault."""
        ...


class MediaFault(Exception):
    """Why a media value cannot be sent."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Medium:
    """A judged value: what stands in the item for it, and an audio's length where it can be known."""

    value: str | dict[str, str]
    seconds: float | None = None
    blob: MediaBlob | None = None


def read_blob(blob: MediaBlob) -> bytes:
    """The bytes to keep and to send. Raises MediaFault where the file is not what it was when it was planned."""
    if blob.path is None:
        return blob.data or b""
    try:
        data = blob.path.read_bytes()
    except OSError as error:
        raise MediaFault(Code.MEDIA_FILE_MISSING, f"{blob.path} cannot be read: {error.strerror}") from None
    if blob.turned_from is not None:
        data = _picture(BytesIO(data), f"{blob.path}", turn=True).upright or b""
    if hashlib.sha256(data).hexdigest() != blob.sha256:
        raise MediaFault(Code.MEDIA_CHANGED, f"{blob.path} has changed since it was planned")
    return data


@dataclass(slots=True)
class MediaReader:
    """Judges media values; the same file or text is looked at once. `folder` is what paths are relative to.

    `auto_rotate`: photos in files that lie on their side are turned upright. `remote` reads s3://.
    """

    folder: Path
    auto_rotate: bool = True
    remote: Remote | None = None
    _known: dict[tuple[str, MediaKind, str | None], Medium | MediaFault] = field(default_factory=dict)
    _folders: dict[str, Path] = field(default_factory=dict)

    def read(self, text: str, kind: MediaKind, within: str | None = None) -> Medium:
        """The medium that `text` names; raises MediaFault. With `within`, a file of this machine or on S3 must be in
        the manifest's folder or in that one, wherever links lead."""
        if _PLAIN_URL.fullmatch(text):
            return Medium(text)
        key = (text, kind, within)
        if key not in self._known:
            try:
                self._known[key] = self._read(*key)
            except MediaFault as fault:
                self._known[key] = fault
        known = self._known[key]
        if isinstance(known, MediaFault):
            raise MediaFault(known.code, known.message)
        return known

    def read_ahead(self, pictures: Iterable[tuple[str, str | None]]) -> None:
        """Judge those of these pictures (the text, and `within`) that are in files, several at once."""
        files = dict.fromkeys(picture for picture in pictures if not picture[0][:8].lower().startswith(_NO_FILES))
        if len(files) > 1:
            with warnings.catch_warnings(), ThreadPoolExecutor(_AT_ONCE) as pool:  # threads share their settings
                for _ in pool.map(self._try, files):
                    pass

    def _try(self, picture: tuple[str, str | None]) -> None:
        text, within = picture
        with suppress(MediaFault):
            self.read(text, "image", within)

    def blobs(self) -> dict[str, MediaBlob]:
        """Everything that has to be at hand when the items are sent, by its hash."""
        media = (known for known in self._known.values() if isinstance(known, Medium))
        found = {medium.blob.sha256: medium.blob for medium in media if medium.blob}
        return dict(sorted(found.items()))  # in whichever order they were read

    def _read(self, text: str, kind: MediaKind, within: str | None) -> Medium:
        if not text.strip():
            raise MediaFault(Code.BAD_MEDIA_URL, f"an {kind} must be given as a URL, base64 or a file")
        if text[:5].lower() == "s3://":
            return self._from_s3(text, text, kind, within)
        if scheme := _SCHEME.match(text):
            return _remote(text, (scheme[1] or scheme[2]).lower(), kind)
        if text[:5].lower() == "data:":
            return _from_data_url(text, kind)
        if (base := uri_of(self.folder)).startswith("s3://") and not _looks_like_base64(text):
            return self._from_s3(uri_beside(base, text), text, kind, within)
        if path := self._file(text, within):
            return _from_file(path, f"`{shorten(text)}`", kind, turn=self.auto_rotate)
        if _looks_like_base64(text):
            return _embedded("", text, kind)
        raise MediaFault(Code.MEDIA_FILE_MISSING, f"there is no file `{shorten(text)}` beside the manifest")

    def _from_s3(self, uri: str, text: str, kind: MediaKind, within: str | None) -> Medium:
        name = f"`{shorten(text)}`"
        if within is not None and not is_within(uri, uri_of(self.folder), within):
            raise _leads_out(text)
        if self.remote is None:
            raise MediaFault(Code.MEDIA_FILE_MISSING, f"{name} cannot be read: nothing here reads s3://")
        try:
            path = self.remote.file(uri)
        except manifest_files.RemoteFault as fault:
            is_outage = isinstance(fault, manifest_files.RemoteOutage)
            code = Code.MANIFEST_UNREADABLE if is_outage else Code.MEDIA_FILE_MISSING
            raise MediaFault(code, f"{name} {fault.message}") from None
        medium = _from_file(path, name, kind, turn=self.auto_rotate)
        return replace(medium, blob=replace(medium.blob, uri=uri)) if medium.blob else medium

    def _file(self, text: str, within: str | None) -> Path | None:
        """The existing file that `text` is the path of."""
        if any(len(part.encode()) > _MAX_PATH_PART for part in text.split("/")):
            return None
        try:
            path = self._resolved(text)
            is_allowed = within is None or any(path.is_relative_to(self._folder(name)) for name in ("", within))
            found = path if path.is_file() else None
        except (OSError, ValueError, RuntimeError):
            return None
        if not is_allowed and not _looks_like_base64(text):
            raise _leads_out(text)
        return found if is_allowed else None

    def _folder(self, name: str) -> Path:
        if name not in self._folders:
            self._folders[name] = self._resolved(name)
        return self._folders[name]

    def _resolved(self, text: str) -> Path:
        return (self.folder / Path(text).expanduser()).resolve()


def _leads_out(text: str) -> MediaFault:
    message = f"`{shorten(text)}` leads out of the manifest's folder, where a column of a row may not lead"
    hint = "write the folder before the column, or the whole path or URI into the row"
    return MediaFault(Code.BAD_MEDIA_URL, f"{message}; {hint}")


def _remote(text: str, scheme: str, kind: MediaKind) -> Medium:
    if scheme == "http":
        raise MediaFault(Code.INSECURE_MEDIA_URL, f"`{shorten(text)}` is not https; use https:// or a local file")
    if scheme != "https":
        message = f"`{shorten(text)}` cannot be fetched by the provider; use https://, a data URL or a path"
        raise MediaFault(Code.BAD_MEDIA_URL, message)
    try:
        parts = urlsplit(text)
        is_whole = bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_whole = False
    if not is_whole or " " in text or not text.isprintable():
        raise MediaFault(Code.BAD_MEDIA_URL, f"`{shorten(text)}` is not a whole https URL")
    return Medium(text)


def _from_data_url(text: str, kind: MediaKind) -> Medium:
    head = _DATA_URL.match(text)
    if head is None:
        message = f"`{shorten(text, 40)}` must look like data:{kind}/...;base64,..."
        raise MediaFault(Code.BAD_MEDIA_URL, message)
    if not head["mime"].lower().startswith(f"{kind}/"):
        raise MediaFault(Code.BAD_MEDIA_URL, f"a data URL of type {head['mime']} cannot be used as an {kind}")
    return _embedded(head[0], text.removeprefix(head[0]), kind)


def _embedded(prefix: str, text: str, kind: MediaKind) -> Medium:
    """Base64 in the manifest. Text that is not the standard form of its bytes stays in the item as it is.

    Raw audio becomes a data URL: the guide takes raw base64 for images only ("Video media input rules").
    """
    try:
        data = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise MediaFault(Code.CORRUPT_MEDIA, f"the base64 of this {kind} cannot be decoded") from None
    seconds = None
    if kind == "audio":
        mime, seconds = _sound(BytesIO(data), "the base64 of this audio")
        prefix = prefix or f"data:{mime};base64,"
    else:
        _picture(BytesIO(data), "the base64 of this image", turn=False)
    if base64.b64encode(data).decode() != text:
        return Medium(prefix + text, seconds)
    sha256 = hashlib.sha256(data).hexdigest()
    blob = MediaBlob(sha256, len(data), None, data)
    return Medium({"$media": sha256, "prefix": prefix}, seconds, blob)


def _from_file(path: Path, name: str, kind: MediaKind, *, turn: bool) -> Medium:
    try:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            blob = MediaBlob(sha256, file.tell(), path, None)
            file.seek(0)
            return _from_sound(file, blob, name) if kind == "audio" else _from_picture(file, blob, name, turn=turn)
    except OSError as error:
        raise MediaFault(Code.CORRUPT_MEDIA, f"{name} cannot be read: {error.strerror}") from None


def _from_sound(file: BinaryIO, blob: MediaBlob, name: str) -> Medium:
    mime, seconds = _sound(file, name)
    return Medium({"$media": blob.sha256, "prefix": f"data:{mime};base64,"}, seconds, blob)


def _from_picture(file: BinaryIO, blob: MediaBlob, name: str, *, turn: bool) -> Medium:
    picture = _picture(file, name, turn=turn)
    prefix = f"data:{picture.mime};base64,"
    if picture.upright is None:
        return Medium({"$media": blob.sha256, "prefix": prefix}, None, blob)
    sent = hashlib.sha256(picture.upright).hexdigest()
    turned = MediaBlob(sent, len(picture.upright), blob.path, None, turned_from=blob.sha256)
    return Medium({"$media": sent, "prefix": prefix, "turned_from": blob.sha256}, None, turned)


def _picture(file: BinaryIO, name: str, *, turn: bool) -> Picture:
    try:
        return read_picture(file, turn=turn)
    except UnreadableMediaError as error:
        raise MediaFault(Code.CORRUPT_MEDIA, f"{name} {error}") from None


def _sound(file: BinaryIO, name: str) -> tuple[str, float]:
    try:
        return read_sound(file)
    except UnreadableMediaError as error:
        raise MediaFault(Code.CORRUPT_MEDIA, f"{name} {error}") from None


def _looks_like_base64(text: str) -> bool:
    """Whether text that is no existing path was meant as base64 (a path's characters are base64's, too)."""
    if text.startswith(_BASE64_STARTS) or any(len(part) > _MAX_PATH_PART for part in text.split("/")):
        return True
    if not _BASE64.fullmatch(text):
        return False
    length = len("".join(text.split()))
    if length >= _SURELY_BASE64 or text.rstrip().endswith("="):
        return True
    return length >= _LIKELY_BASE64 and length % 4 == 0 and "/" not in text
