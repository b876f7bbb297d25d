"""One media value of a request item: what the guide accepts, and what can be read from it without fetching.

Source: guide, "Image attachment rules" and "Video media input rules".
"""

import base64
import binascii
import io
import re
import struct
from dataclasses import dataclass
from urllib.parse import urlsplit

import av
from PIL import Image

_DATA_URL = re.compile(r"data:(image|audio)/[\w.+-]+;base64,(.*)", re.DOTALL | re.IGNORECASE)
_PICTURE_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
# Playlists inside the data must not make the decoder open anything else.
_NO_PROTOCOLS = {"protocol_whitelist": "none"}


class Refused(Exception):
    """An item breaks a rule: the provider's error code and message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Picture:
    """An image input; `width` and `height` are None for a URL, which the sandbox never fetches."""

    width: int | None = None
    height: int | None = None


@dataclass(frozen=True, slots=True)
class Sound:
    """An audio input; `seconds` is None for a URL."""

    seconds: float | None = None


def read_picture(value: object, field: str, own_origin: str) -> Picture:
    """An HTTPS URL, a data URL or raw base64. Raises Refused.

    URLs below `own_origin` are the sandbox's own results, the only plain http ones that it takes.
    """
    if _is_url(value, field, own_origin):
        return Picture()
    return _decode_picture(_payload(value, "image", field), field)


def read_sound(value: object, field: str, own_origin: str, *, raw_base64: bool = False) -> Sound:
    """An HTTPS URL or a data URL (raw base64 only in `base64_data` of an asset). Raises Refused."""
    if _is_url(value, field, own_origin):
        return Sound()
    if not raw_base64 and not str(value).startswith("data:"):
        raise Refused("bad_media_url", f"{field} must be an HTTPS URL or a base64 data URL")
    return _decode_sound(_payload(value, "audio", field), field)


def _is_url(value: object, field: str, own_origin: str) -> bool:
    if not isinstance(value, str) or not value.strip():
        raise Refused("bad_media_url", f"{field} must be a non-empty string")
    scheme, separator, _ = value.partition("://")
    if not separator or len(scheme) > 10:
        return False
    if value.startswith(own_origin + "/") or (scheme.lower() == "https" and urlsplit(value).hostname):
        return True
    if scheme.lower() == "http":
        raise Refused("insecure_media_url", f"{field}: http:// media URLs are not accepted, use https://")
    raise Refused("bad_media_url", f"{field}: expected an HTTPS URL or base64 data")


def _payload(value: object, kind: str, field: str) -> bytes:
    text = str(value)
    if text.startswith("data:"):
        match = _DATA_URL.fullmatch(text)
        if match is None or match[1].lower() != kind:
            raise Refused("bad_media_url", f"{field}: expected data:{kind}/...;base64,...")
        text = match[2]
    try:
        decoded = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise Refused("bad_media_url", f"{field}: neither an HTTPS URL nor base64 data") from None
    if not decoded:
        raise Refused("corrupt_media", f"{field}: the base64 data is empty")
    return decoded


def _decode_picture(content: bytes, field: str) -> Picture:
    try:
        with Image.open(io.BytesIO(content), formats=_PICTURE_FORMATS) as picture:
            picture.load()
            return Picture(*picture.size)
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError):
        raise Refused("corrupt_media", f"{field}: the base64 data is not a readable image") from None


def _decode_sound(content: bytes, field: str) -> Sound:
    try:
        with av.open(io.BytesIO(content), "r", options=_NO_PROTOCOLS) as container:
            samples = [(frame.samples, frame.sample_rate) for frame in container.decode(audio=0)]
    except (av.error.FFmpegError, IndexError, ValueError):
        samples = []
    if not samples:
        raise Refused("corrupt_media", f"{field}: the base64 data is not readable audio")
    return Sound(sum(count / rate for count, rate in samples))
