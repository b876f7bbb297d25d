"""Decode a picture in full, every frame, within bounds."""

import io
import itertools

from PIL import Image

from orchestrator.assets.errors import CorruptAsset

MAX_FRAME_PIXELS = 150_000_000
_MAX_DECODED_PIXELS = 2_000_000_000  # of a long animation, the frames beyond this are not decoded


def decode_picture(data: bytes, pillow_format: str) -> tuple[int, int]:
    """Width and height of a picture whose frames all decode. Raises CorruptAsset."""
    try:
        with Image.open(io.BytesIO(data), formats=[pillow_format]) as image:
            width, height = image.size
            if width * height > MAX_FRAME_PIXELS:
                raise CorruptAsset(f"{width} x {height} is more than {MAX_FRAME_PIXELS} pixels")
            _decode_frames(image, _MAX_DECODED_PIXELS // (width * height))
    except CorruptAsset:
        raise
    except Exception as error:  # noqa: BLE001 - decoders raise anything on hostile bytes; memory is all they read
        raise CorruptAsset(f"the picture does not decode ({type(error).__name__})") from None
    return width, height


def _decode_frames(image: Image.Image, at_most: int) -> None:
    for frame in itertools.count():
        if frame >= max(at_most, 1):
            return
        try:
            image.seek(frame)
        except EOFError:
            return
        image.load()
