"""Open a video, read every packet, decode its first and last pictures."""

import io
import itertools
from dataclasses import dataclass
from pathlib import Path

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from orchestrator.assets.errors import CorruptAsset
from orchestrator.assets.memory import CopyMemory

MAX_FRAME_PIXELS = 150_000_000
_BYTES_PER_PIXEL = 32  # the frames that others refer to (16 at most in H.264), and those that wait for their turn


@dataclass(frozen=True, slots=True)
class VideoFacts:
    """What the streams say of themselves; pixels as stored, seconds of the longest stream."""

    width: int
    height: int
    duration_seconds: float | None


def decode_video(content: bytes | Path, demuxer: str, memory: CopyMemory) -> VideoFacts:
    """Facts of a video that can be read to its end. Raises CorruptAsset.

    The demuxer is named, so that a playlist in disguise cannot make FFmpeg open other files or URLs.
    """
    source = io.BytesIO(content) if isinstance(content, bytes) else str(content)
    try:
        with av.open(source, "r", format=demuxer) as container:
            if not container.streams.video:
                raise CorruptAsset("the file holds no video stream")
            return _read_whole(container, container.streams.video[0], memory)
    except av.FFmpegError as error:
        raise CorruptAsset(f"the video does not decode ({type(error).__name__})") from None


def _read_whole(container: InputContainer, stream: VideoStream, memory: CopyMemory) -> VideoFacts:
    width, height = stream.codec_context.width, stream.codec_context.height
    if not 0 < width * height <= MAX_FRAME_PIXELS:
        raise CorruptAsset(f"the video's frames have an impossible size, {width} x {height}")
    key_frames_at, end_seconds = _demux(container, stream)
    with memory.decoding(width * height * _BYTES_PER_PIXEL):
        _seek(container, stream, key_frames_at[0])
        _decode(container, stream, at_most=1)
        _seek(container, stream, key_frames_at[-1])
        _decode(container, stream, at_most=None)
    stated = container.duration / av.time_base if container.duration else end_seconds
    return VideoFacts(width, height, round(stated, 3) if stated > 0 else None)


def _demux(container: InputContainer, stream: VideoStream) -> tuple[list[int], float]:
    """Where the key frames are (in the stream's time base), and where the last packet of any stream ends."""
    key_frames_at: list[int] = []
    end_seconds = 0.0
    for packet in container.demux():
        if packet.is_corrupt:
            raise CorruptAsset("the video holds a damaged packet")
        if packet.pts is None or packet.time_base is None:
            continue  # the empty packet after the last one of a stream
        end_seconds = max(end_seconds, float((packet.pts + (packet.duration or 0)) * packet.time_base))
        if packet.stream_index == stream.index and packet.is_keyframe:
            key_frames_at.append(packet.pts)
    if not key_frames_at:
        raise CorruptAsset("the video holds no key frame")
    return key_frames_at, end_seconds


def _seek(container: InputContainer, stream: VideoStream, pts: int) -> None:
    container.seek(pts, stream=stream, backward=True)


def _decode(container: InputContainer, stream: VideoStream, *, at_most: int | None) -> None:
    frames = sum(1 for _ in itertools.islice(container.decode(stream), at_most))
    if frames == 0:
        raise CorruptAsset("the video does not decode to pictures")
