"""Drawn pictures: a gradient from the prompt's hash, the prompt on it, and the word `sandbox`.

The same input gives the same bytes.
"""

import hashlib
import io
import textwrap
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

MARK = "sandbox: not made by a real provider"
_EXIF_IMAGE_DESCRIPTION = 0x010E


@dataclass(frozen=True, slots=True)
class Motif:
    """What a result shows, apart from its size. The job's short id makes each result one of its kind."""

    prompt: str
    model: str
    job: str


def draw(motif: Motif, width: int, height: int) -> Image.Image:
    """The picture of a motif."""
    picture = _gradient(motif.prompt, width, height)
    pen = ImageDraw.Draw(picture)
    size = max(8, min(width, height) // 14)
    font = ImageFont.load_default(size)
    columns = max(8, int(width / (size * 0.55)))
    margin = size // 2
    pen.text((margin, margin), f"sandbox · {motif.model}", font=font, fill="white")
    lines = textwrap.wrap(motif.prompt, columns) or [""]
    room = max(1, (height - 4 * size) // (size + 3))
    pen.multiline_text((margin, 2 * size + margin), "\n".join(lines[:room]), font=font, fill="white", spacing=3)
    pen.text((margin, height - size - margin), f"sandbox {motif.job}", font=font, fill="white")
    return picture


def encode(picture: Image.Image, media_format: str) -> bytes:
    """The picture as png, jpeg or webp, with `sandbox` in its metadata."""
    buffer = io.BytesIO()
    match media_format:
        case "png":
            info = PngInfo()
            info.add_text("Comment", MARK)
            picture.save(buffer, "PNG", pnginfo=info, compress_level=1)
        case "jpeg":
            picture.save(buffer, "JPEG", quality=85, comment=MARK.encode())
        case "webp":
            exif = Image.Exif()
            exif[_EXIF_IMAGE_DESCRIPTION] = MARK
            picture.save(buffer, "WEBP", quality=80, method=0, exif=exif)
        case _:
            raise ValueError(f"no such picture format: {media_format}")
    return buffer.getvalue()


def _gradient(prompt: str, width: int, height: int) -> Image.Image:
    """Two dark colours of the prompt's hash, blended top to bottom: white text stays readable on them."""
    digest = hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).digest()
    top, bottom = (Image.new("RGB", (width, height), _dark(digest[i : i + 3])) for i in (0, 3))
    mask = Image.linear_gradient("L").resize((width, height))
    return Image.composite(bottom, top, mask)


def _dark(channels: bytes) -> tuple[int, int, int]:
    red, green, blue = (channel // 2 for channel in channels)
    return red, green, blue
