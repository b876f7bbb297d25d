"""Decode a picture in full, every frame, within bounds."""

import io
import itertools
from typing import IO, cast

from PIL import Image

from orchestrator.assets.containers import Bytes
from orchestrator.assets.errors import CorruptAsset
from orchestrator.assets.memory import CopyMemory

MAX_FRAME_PIXELS = 150_000_000
_MAX_DECODED_PIXELS = 2_000_000_000  # of a long animation, the frames beyond this are not decoded


_BYTES_PER_PIXEL = 8  # a frame of four bytes a pixel, and of an animation the one before it


def decode_picture(data: Bytes, pillow_format: str, memory: CopyMemory) -> tuple[int, int]:
    """Width and height of a picture whose frames all decode. Raises CorruptAsset."""
    stream = io.BytesIO(data) if isinstance(data, bytes) else cast(IO[bytes], data)  # a map reads like a file
    try:
        with Image.open(stream, formats=[pillow_format]) as image:
            width, height = image.size
            if width * height > MAX_FRAME_PIXELS:
                raise CorruptAsset(f"{width} x {height} is more than {MAX_FRAME_PIXELS} pixels")
            with memory.decoding(width * height * _BYTES_PER_PIXEL):
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
