"""Whether bytes are a picture or a sound that can be read, which type they truly are, and which way up a photo is."""

import warnings
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from typing import BinaryIO

import mutagen
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.ExifTags import Base
from PIL.JpegImagePlugin import get_sampling

MAX_PIXELS = 100_000_000
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")  # none of these starts another program
_JPEGS = ("JPEG", "MPO")  # the latter is a phone's JPEG with a second picture behind it
_TURNED = range(2, 9)
_QUALITY = 95
_MIME_OF_SOUND = {
    "audio/mp3": "audio/mpeg",
    "audio/x-wav": "audio/wav",
    "audio/wave": "audio/wav",
    "audio/x-flac": "audio/flac",
    "audio/x-aiff": "audio/aiff",
}


class UnreadableMediaError(Exception):
    """Why the bytes are not what their slot needs."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture that decodes wholly: its MIME type, and its bytes turned upright where it was to be and was not."""

    mime: str
    upright: bytes | None = None


def read_picture(file: BinaryIO, *, turn: bool) -> Picture:
    """The picture in `file`; raises UnreadableMediaError.

    With `turn`, a photo that lies on its side by its EXIF orientation is made anew: as JPEG what was JPEG, otherwise
    as PNG. The same photo gives the same bytes.
    """
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(file, formats=_FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise UnreadableMediaError(f"has more than {MAX_PIXELS:,} pixels")
            if image.format in _JPEGS and not (turn and _lies_on_its_side(image)):
                image.draft("RGB", (1, 1))  # all of it is read, into a picture of an eighth of its size
            image.load()
            if turn and _lies_on_its_side(image):
                return _turned(image)
            return Picture("image/jpeg" if image.format in _JPEGS else image.get_format_mimetype() or "image/png")
    except UnreadableMediaError:
        raise
    except UnidentifiedImageError:
        raise UnreadableMediaError("is not a readable image") from None
    except Exception as error:  # noqa: BLE001 - decoders of hostile bytes raise anything
        raise UnreadableMediaError(f"is not a readable image ({_reason(error)})") from None


def read_sound(file: BinaryIO) -> tuple[str, float]:
    """The MIME type and the length in seconds of an audio file; raises UnreadableMediaError."""
    try:
        sound = mutagen.File(file)
    except Exception as error:  # noqa: BLE001 - as above
        raise UnreadableMediaError(f"is not a readable audio file ({_reason(error)})") from None
    if sound is None or sound.info is None or sound.info.length <= 0:
        raise UnreadableMediaError("is not a readable audio file")
    mime: str = sound.mime[0]
    return _MIME_OF_SOUND.get(mime, mime), float(sound.info.length)


def _lies_on_its_side(image: Image.Image) -> bool:
    """Whether its EXIF orientation says so; EXIF that cannot be read says nothing."""
    with suppress(Exception):
        return image.getexif().get(Base.Orientation) in _TURNED
    return False


def _turned(image: Image.Image) -> Picture:
    """The picture as it is to be seen, with its colours and without its EXIF, which says where it was taken."""
    upright = ImageOps.exif_transpose(image)
    buffer = BytesIO()
    profile = image.info.get("icc_profile")
    if image.format not in _JPEGS:
        upright.save(buffer, "PNG", icc_profile=profile)
        return Picture("image/png", buffer.getvalue())
    upright.save(buffer, "JPEG", quality=_QUALITY, subsampling=get_sampling(image), icc_profile=profile, exif=b"")
    return Picture("image/jpeg", buffer.getvalue())


def _reason(error: Exception) -> str:
    return str(error).splitlines()[0][:80] if str(error) else type(error).__name__
