"""A server of files of any size, as fast as they can be read: `python -m benchmarks.copy_source PORT_FILE`.

`/SIZE/anything` is a file of SIZE bytes: up to 1 MB a picture of noise, above it a video followed by padding that its
format allows, so that it is quickly proven to be whole and what is measured is the moving of bytes.
"""

import asyncio
import functools
import io
import os
import struct
import sys
import tempfile
from pathlib import Path

import av
from PIL import Image

_PIECE_BYTES = 1024**2
_LARGEST_PICTURE_BYTES = 1_000_000


@functools.cache
def picture(size_bytes: int) -> bytes:
    """A PNG of noise, of about this size."""
    width = int((size_bytes / 3) ** 0.5)
    image = Image.frombytes("RGB", (width, width), os.urandom(3 * width * width))
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


@functools.cache
def video(seconds: int = 1, width: int = 320, height: int = 180) -> bytes:
    """An H.264 video of moving noise at 24 frames a second."""
    with tempfile.NamedTemporaryFile(suffix=".mp4") as out, av.open(out.name, "w") as container:
        stream = container.add_stream("libx264", rate=24, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for _ in range(24 * seconds):
            small = Image.frombytes("RGB", (width // 4, height // 4), os.urandom(3 * (width // 4) * (height // 4)))
            container.mux(stream.encode(av.VideoFrame.from_image(small.resize((width, height)))))
        container.mux(stream.encode(None))
        container.close()
        return Path(out.name).read_bytes()


def head_of(size_bytes: int) -> tuple[bytes, int, str]:
    """What a file of this size begins with, how many zero bytes follow, and its type."""
    if size_bytes <= _LARGEST_PICTURE_BYTES:
        return picture(size_bytes), 0, "image/png"
    whole = video()
    rest = size_bytes - len(whole) - 16
    return whole + struct.pack(">I4sQ", 1, b"free", rest + 16), rest, "video/mp4"


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    zeros = bytes(_PIECE_BYTES)
    try:
        while request := await reader.readuntil(b"\r\n\r\n"):
            head, rest, mime_type = head_of(int(request.split(b"/", 2)[1]))
            said = f"HTTP/1.1 200 OK\r\nContent-Type: {mime_type}\r\nContent-Length: {len(head) + rest}\r\n\r\n"
            writer.write(said.encode() + head)
            while rest:
                writer.write(zeros[:rest])
                rest -= min(rest, _PIECE_BYTES)
                await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def _main(port_file: Path) -> None:
    server = await asyncio.start_server(_serve, "127.0.0.1", 0)
    _tell(port_file, server.sockets[0].getsockname()[1])
    await server.serve_forever()


def _tell(port_file: Path, port: int) -> None:
    port_file.write_text(str(port))


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1])))
