"""Small real pictures and videos."""

import io
import random
import tempfile
from collections.abc import Callable
from fractions import Fraction
from functools import cache, partial
from pathlib import Path

import av
import pytest
from PIL import Image


def _picture(pillow_format: str, *, frames: int = 1, size: tuple[int, int] = (48, 36), **options: object) -> bytes:
    noise = random.Random(7)
    images = [Image.frombytes("RGB", size, noise.randbytes(size[0] * size[1] * 3)) for _ in range(frames)]
    out = io.BytesIO()
    if frames > 1:
        images[0].save(out, pillow_format, save_all=True, append_images=images[1:], **options)
    else:
        images[0].save(out, pillow_format, **options)
    return out.getvalue()


def _video(kind: str, *, moov_at_front: bool = False, live: bool = False) -> bytes:
    """One second at 12 frames a second: `mp4`, `mov` (H.264) or `webm` (VP8)."""
    options = {"movflags": "faststart"} if moov_at_front else {"live": "1"} if live else {}
    with tempfile.NamedTemporaryFile() as out, av.open(out.name, "w", format=kind, options=options) as container:
        stream = container.add_stream("libvpx" if kind == "webm" else "libx264", rate=12)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.time_base = Fraction(1, 12)
        noise = random.Random(7)
        for number in range(12):
            image = Image.frombytes("RGB", (64, 48), noise.randbytes(64 * 48 * 3))
            frame = av.VideoFrame.from_image(image)
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        container.close()
        return Path(out.name).read_bytes()


def _sound() -> bytes:
    """An MP4 without pictures."""
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=48000)
        for number in range(5):
            frame = av.AudioFrame(format="fltp", layout="stereo", samples=1024)
            for plane in frame.planes:
                plane.update(bytes(plane.buffer_size))
            frame.sample_rate, frame.pts, frame.time_base = 48000, number * 1024, Fraction(1, 48000)
            container.mux(stream.encode(frame))
    return out.getvalue()


_MAKERS: dict[str, Callable[[], bytes]] = {
    "png": partial(_picture, "PNG"),
    "jpeg": partial(_picture, "JPEG"),
    "jpeg-progressive": partial(_picture, "JPEG", progressive=True),
    "webp": partial(_picture, "WEBP"),
    "webp-animated": partial(_picture, "WEBP", frames=3),
    "gif": partial(_picture, "GIF"),
    "gif-animated": partial(_picture, "GIF", frames=3),
    "avif": partial(_picture, "AVIF"),
    "mp4-moov-at-end": partial(_video, "mp4"),
    "mp4-moov-at-front": partial(_video, "mp4", moov_at_front=True),
    "mov": partial(_video, "mov"),
    "webm": partial(_video, "webm"),
    "webm-live": partial(_video, "webm", live=True),
    "sound": _sound,
}


@pytest.fixture(scope="session")
def sample() -> Callable[[str], bytes]:
    """The bytes of a sample by its name; each is made once."""
    return cache(lambda name: _MAKERS[name]())
