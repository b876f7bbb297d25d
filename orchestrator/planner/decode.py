"""Whether bytes are a picture or a sound that can be read, and which type they truly are."""

import warnings
from io import BytesIO

import mutagen
from PIL import Image, UnidentifiedImageError

MAX_PIXELS = 100_000_000
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")  # none of these starts another program
_MIME_OF_FORMAT = {"MPO": "image/jpeg"}  # a phone's JPEG with a second picture behind it
_MIME_OF_SOUND = {
    "audio/mp3": "audio/mpeg",
    "audio/x-wav": "audio/wav",
    "audio/wave": "audio/wav",
    "audio/x-flac": "audio/flac",
    "audio/x-aiff": "audio/aiff",
}


class UnreadableMediaError(Exception):
    """Why the bytes are not what their slot needs."""


def image_type(data: bytes) -> str:
    """The MIME type of a picture that decodes wholly; raises UnreadableMediaError."""
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(BytesIO(data), formats=_FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise UnreadableMediaError(f"has more than {MAX_PIXELS:,} pixels")
            image.load()
            return _MIME_OF_FORMAT.get(image.format or "", image.get_format_mimetype() or "image/png")
    except UnreadableMediaError:
        raise
    except UnidentifiedImageError:
        raise UnreadableMediaError("is not a readable image") from None
    except Exception as error:  # noqa: BLE001 - decoders of hostile bytes raise anything
        raise UnreadableMediaError(f"is not a readable image ({_reason(error)})") from None


def sound_type(data: bytes) -> tuple[str, float]:
    """The MIME type and the length in seconds of an audio file; raises UnreadableMediaError."""
    try:
        sound = mutagen.File(BytesIO(data))
    except Exception as error:  # noqa: BLE001 - as above
        raise UnreadableMediaError(f"is not a readable audio file ({_reason(error)})") from None
    if sound is None or sound.info is None or sound.info.length <= 0:
        raise UnreadableMediaError("is not a readable audio file")
    mime: str = sound.mime[0]
    return _MIME_OF_SOUND.get(mime, mime), float(sound.info.length)


def _reason(error: Exception) -> str:
    return str(error).splitlines()[0][:80] if str(error) else type(error).__name__
