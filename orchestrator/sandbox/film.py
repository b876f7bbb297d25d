"""Drawn videos: the motif's picture with a bar that moves with time, as a small H.264 MP4.

The same input gives the same bytes.
"""

import io
from fractions import Fraction

import av
from PIL import Image, ImageDraw

from orchestrator.sandbox.picture import MARK, Motif, draw

FRAMES_PER_SECOND = 8
_SAMPLES_PER_SECOND = 8000
_ENCODER = {"preset": "ultrafast", "crf": "32", "threads": "1", "g": "40"}


def film(motif: Motif, width: int, height: int, seconds: float, *, sound: bool) -> bytes:
    """An MP4 of that length; with `sound` it has an AAC track (of silence)."""
    count = max(1, round(seconds * FRAMES_PER_SECOND))
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        container.metadata["comment"] = MARK
        video = container.add_stream("libx264", rate=FRAMES_PER_SECOND, options=_ENCODER)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        audio = container.add_stream("aac", rate=_SAMPLES_PER_SECOND, layout="mono") if sound else None
        still = draw(motif, width, height)
        for index in range(count):
            image = _with_bar(still, (index + 1) / count).convert("RGBA")
            picture = av.VideoFrame.from_bytes(image.tobytes(), width, height)
            picture.pts, picture.time_base = index, Fraction(1, FRAMES_PER_SECOND)
            container.mux(video.encode(picture))
        container.mux(video.encode(None))
        if audio is not None:
            _mux_silence(container, audio, seconds)
    return buffer.getvalue()


def final_frame(motif: Motif, width: int, height: int) -> Image.Image:
    """The last picture of the motif's film."""
    return _with_bar(draw(motif, width, height), 1.0)


def _with_bar(still: Image.Image, share: float) -> Image.Image:
    picture = still.copy()
    top = still.height - max(2, still.height // 24)
    ImageDraw.Draw(picture).rectangle((0, top, round(still.width * share), still.height), fill="white")
    return picture


def _mux_silence(container: av.container.OutputContainer, stream: av.AudioStream, seconds: float) -> None:
    size = 1024
    for start in range(0, round(seconds * _SAMPLES_PER_SECOND), size):
        frame = av.AudioFrame(format="fltp", layout="mono", samples=size)
        frame.planes[0].update(bytes(frame.planes[0].buffer_size))
        frame.sample_rate, frame.pts = _SAMPLES_PER_SECOND, start
        frame.time_base = Fraction(1, _SAMPLES_PER_SECOND)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
