"""Is a file whole? One walk over its own structure per format, which needs no decoder.

Decoders forgive: a JPEG without its last bytes, a WebM that stops in the middle of a cluster and a GIF with
frames missing all open. These walks say what the format's own lengths and end marks say. Each raises
CorruptAsset with the reason, and allows bytes after the end only where the format does.
"""

import re
import struct
import zlib
from collections.abc import Iterator
from mmap import mmap
from typing import TypeAlias

from orchestrator.assets.errors import CorruptAsset

Bytes: TypeAlias = bytes | mmap

_JPEG_MARKER_IN_SCAN = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]")  # neither a stuffed 0xFF nor a restart
_JPEG_STANDALONE = frozenset((0x01, *range(0xD0, 0xD9)))
_EBML_OF_LIVE_STREAMS = (0x18538067, 0x1F43B675)  # segment and cluster, whose size may be left unknown


def _cut_short(what: str) -> CorruptAsset:
    return CorruptAsset(f"the {what} is cut short")


def check_png(data: Bytes) -> None:
    """Signature, then chunks with their CRC up to and including IEND (PNG specification, 5.3)."""
    at = 8
    with memoryview(data) as view:  # a slice of it is no copy
        while True:
            if at + 12 > len(data):
                raise _cut_short("PNG")
            (length,) = struct.unpack_from(">I", data, at)
            end = at + 12 + length
            if end > len(data):
                raise _cut_short("PNG")
            (crc,) = struct.unpack_from(">I", data, end - 4)
            if zlib.crc32(view[at + 4 : end - 4]) != crc:
                raise CorruptAsset("a PNG chunk fails its checksum")
            if data[at + 4 : at + 8] == b"IEND":
                return
            at = end


def check_jpeg(data: Bytes) -> None:
    """Marker segments and scans up to the end-of-image marker (ITU-T T.81, B.1 and B.2)."""
    at = 2
    while True:
        marker = data[at : at + 2]
        if len(marker) < 2:
            raise _cut_short("JPEG")
        if marker[0] != 0xFF:
            raise CorruptAsset("a JPEG segment does not start with a marker")
        code = marker[1]
        if code == 0xD9:
            return
        if code == 0xFF:
            at += 1
        elif code in _JPEG_STANDALONE:
            at += 2
        else:
            at = _after_jpeg_segment(data, at, is_scan=code == 0xDA)


def _after_jpeg_segment(data: Bytes, at: int, *, is_scan: bool) -> int:
    if at + 4 > len(data):
        raise _cut_short("JPEG")
    (length,) = struct.unpack_from(">H", data, at + 2)
    end: int = at + 2 + length
    if not is_scan:
        return end
    found = _JPEG_MARKER_IN_SCAN.search(data, end)
    if found is None:
        raise _cut_short("JPEG")
    return found.end() - 2


def check_webp(data: Bytes) -> None:
    """The RIFF header counts the bytes after it (WebP container specification)."""
    (length,) = struct.unpack_from("<I", data, 4)
    if len(data) < 8 + length:
        raise _cut_short("WebP")


def check_gif(data: Bytes) -> None:
    """Blocks up to the trailer (GIF89a, 17 to 27)."""
    try:
        at = 13 + _gif_table_bytes(data[10])
        while data[at] != 0x3B:
            if data[at] == 0x21:
                at = _after_gif_blocks(data, at + 2)
            elif data[at] == 0x2C:
                at = _after_gif_blocks(data, at + 11 + _gif_table_bytes(data[at + 9]))
            else:
                raise CorruptAsset("the GIF holds an unknown block")
    except IndexError:
        raise _cut_short("GIF") from None


def _gif_table_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _after_gif_blocks(data: Bytes, at: int) -> int:
    while data[at]:
        at += data[at] + 1
    return at + 1


def check_isobmff(data: Bytes, required: frozenset[bytes]) -> None:
    """The boxes of an MP4, MOV or AVIF file add up to its size (ISO/IEC 14496-12, 4.2), `required` among them."""
    kinds = set(_top_boxes(data))
    missing = sorted(kind.decode() for kind in required - kinds)
    if missing:
        raise CorruptAsset(f"the file lacks its {' and '.join(missing)} box")


def _top_boxes(data: Bytes) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        size, kind = _box_header(data, at)
        if size < 8:
            raise CorruptAsset("a box of the file has an impossible size")
        at += size
        yield kind
    if at > len(data):
        raise _cut_short("file's last box")


def _box_header(data: Bytes, at: int) -> tuple[int, bytes]:
    try:
        size, kind = struct.unpack_from(">I4s", data, at)
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, at + 8)
    except struct.error:
        raise _cut_short("file's last box") from None
    return size or len(data) - at, kind  # 0 means: up to the end of the file


def check_matroska(data: Bytes) -> None:
    """EBML header and segment of a WebM or Matroska file reach exactly as far as they say (RFC 8794, 6)."""
    at = 0
    while at < len(data):
        element, size, body = _ebml_element(data, at)
        if size is None:
            if element not in _EBML_OF_LIVE_STREAMS:
                raise CorruptAsset("an element of the WebM has no size")
            at = body  # its children are walked instead
        else:
            at = body + size
    if at != len(data):
        raise _cut_short("WebM")


def _ebml_element(data: Bytes, at: int) -> tuple[int, int | None, int]:
    """Element id, size (None where unknown) and where its body starts."""
    element, at = _ebml_number(data, at, keep_marker=True)
    start = at
    size, at = _ebml_number(data, at, keep_marker=False)
    unknown = size == (1 << 7 * (at - start)) - 1
    return element, None if unknown else size, at


def _ebml_number(data: Bytes, at: int, *, keep_marker: bool) -> tuple[int, int]:
    if at >= len(data):
        raise _cut_short("WebM")
    length = 9 - data[at].bit_length()
    if length > 8:
        raise CorruptAsset("the WebM holds an impossible length")
    if at + length > len(data):
        raise _cut_short("WebM")
    number = int.from_bytes(data[at : at + length], "big")
    return (number if keep_marker else number & (1 << 7 * length) - 1), at + length
