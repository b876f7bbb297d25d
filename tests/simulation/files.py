"""Small files that are quick to make and to verify, and different for every job."""

import io
import struct
import zlib
from functools import lru_cache

from PIL import Image

from orchestrator.sandbox.asset_urls import Rendition, rendition_format
from orchestrator.sandbox.film import film
from orchestrator.sandbox.picture import Motif
from orchestrator.sandbox.records import Job


def draw(job: Job, rendition: Rendition) -> bytes:
    """The bytes of one rendition of a job: a tiny picture or film with the job's id in it."""
    words = f"{job.job_id} {rendition}".encode()
    match rendition_format(job, rendition):
        case "png":
            return _png(words)
        case "jpeg":
            return _jpeg(words)
        case "mp4":
            return _mp4(words)
    raise ValueError("the simulation draws no such format")


def _png(words: bytes) -> bytes:
    """A text chunk before the last twelve bytes, which are IEND."""
    base = _picture("PNG")
    chunk = b"tEXtComment\0" + words
    return base[:-12] + struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) + base[-12:]


def _jpeg(words: bytes) -> bytes:
    """A comment right after the start of the image."""
    base = _picture("JPEG")
    return base[:2] + b"\xff\xfe" + struct.pack(">H", len(words) + 2) + words + base[2:]


def _mp4(words: bytes) -> bytes:
    """A box of no meaning at the end."""
    return _film() + struct.pack(">I", 8 + len(words)) + b"free" + words


@lru_cache
def _picture(name: str) -> bytes:
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((16, 16)).convert("RGB").save(buffer, name)
    return buffer.getvalue()


@lru_cache
def _film() -> bytes:
    return film(Motif("a film", "model", "job"), 64, 64, 0.5, sound=False)
