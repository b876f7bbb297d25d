"""Small pictures of stored files: WebP, whatever the original is."""

import io
import logging
from typing import Any, BinaryIO

import av
from PIL import Image, ImageOps

#: Twice as wide as a card is at its smallest: sharp on dense displays. Less than the card's own width is no picture.
LONGEST_SIDE_PIXELS = 480
FEWEST_PIXELS = 320
_QUALITY = 72
_MAX_PIXELS = 150_000_000
_PICTURES = ("PNG", "JPEG", "WEBP", "GIF", "AVIF")
_EBML = b"\x1a\x45\xdf\xa3"
log = logging.getLogger("orchestrator.report")


def thumbnail(file: BinaryIO, kind: str, *, at_least_pixels: int = 1) -> bytes | None:
    """A WebP of a picture, or of the first frame of a clip (`kind` "video"), of which no more is read than that takes.

    None for what cannot be decoded, and for what has not as many pixels on its longest side.
    """
    try:
        picture = _first_frame(file) if kind == "video" else _picture(file)
        if max(picture.size) < at_least_pixels:
            return None
        picture.thumbnail((LONGEST_SIDE_PIXELS, LONGEST_SIDE_PIXELS), Image.Resampling.BILINEAR)
        target = io.BytesIO()
        picture.save(target, "WEBP", quality=_QUALITY, method=2)
        return target.getvalue()
    except Exception as error:  # noqa: BLE001 - decoders raise anything; a report without one picture is still one
        log.warning("a file has no picture: it does not decode (%s)", type(error).__name__)
        return None


def _picture(file: BinaryIO) -> Image.Image:
    with Image.open(file, formats=_PICTURES) as image:
        if image.width * image.height > _MAX_PIXELS:
            raise ValueError("too large")
        image.draft("RGB", (LONGEST_SIDE_PIXELS, LONGEST_SIDE_PIXELS))
        upright = ImageOps.exif_transpose(image)
        return upright.convert("RGBA" if upright.has_transparency_data else "RGB")


def _first_frame(file: BinaryIO) -> Image.Image:
    demuxer = "matroska" if file.read(len(_EBML)) == _EBML else "mov"  # named: a playlist in disguise opens nothing
    file.seek(0)
    with av.open(file, "r", format=demuxer) as container:
        frame: Any = next(container.decode(container.streams.video[0]))  # its `to_image` has no types
        picture: Image.Image = frame.to_image()
        return picture
