"""The text of a CSV or JSONL file, in whatever encoding spreadsheets saved it."""

import re
from dataclasses import dataclass

from orchestrator.manifest.files import SourceFault

_WIDE = ((b"\xff\xfe\0\0", "utf-32"), (b"\0\0\xfe\xff", "utf-32"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")
_SAMPLE_BYTES = 1000
_NOT_ASCII = re.compile(rb"[\x80-\xff]+")
ESCAPED = re.compile("[\udc80-\udcff]")
"""A byte that is not UTF-8, in text that otherwise is (`surrogateescape`)."""


@dataclass(frozen=True, slots=True)
class TableText:
    """The text, and what its encoding was guessed to be where the file does not say (a warning's worth)."""

    text: str
    guessed: str | None = None


def decode_table(data: bytes, encoding: str | None = None) -> TableText:
    """The text of a file of rows, in the `encoding` that is said. Raises SourceFault where it cannot be told.

    Where none is said, a file with any UTF-8 in it is UTF-8: bytes that are not are kept as `ESCAPED` characters, a
    fault of their row. Otherwise it is Windows-1252, which Excel writes as "CSV".
    """
    if data.startswith(_WORKBOOKS):
        raise SourceFault("is an Excel workbook, whatever its name; save it as CSV (UTF-8)")
    if encoding is not None:
        return TableText(_decode_as(data, encoding).removeprefix("\ufeff"))
    if wide := _wide_encoding(data):
        return TableText(_decode_wide(data, wide).removeprefix("\ufeff"))
    data = data.removeprefix(b"\xef\xbb\xbf")
    try:
        return TableText(data.decode())
    except UnicodeDecodeError:
        pass
    if any(_is_utf8(found[0]) for found in _NOT_ASCII.finditer(data)):
        return TableText(data.decode(errors="surrogateescape"))
    try:
        return TableText(data.decode("cp1252"), "Windows-1252")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        message = f"is neither UTF-8 nor Windows-1252 (byte 0x{data[error.start]:02x} in line {line}); save it as UTF-8"
        raise SourceFault(message) from None


def _decode_as(data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except LookupError:
        raise SourceFault(f"cannot be read: there is no encoding of the name {encoding!r}") from None
    except UnicodeError as error:
        where = f" (byte {error.start + 1})" if isinstance(error, UnicodeDecodeError) else ""
        raise SourceFault(f"is not {encoding}{where}") from None


def byte_of(character: str) -> str:
    """The byte behind an `ESCAPED` character, for a message."""
    return f"0x{ord(character) - 0xDC00:02x}"


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _wide_encoding(data: bytes) -> str | None:
    """UTF-16 or UTF-32 by its byte order mark, or UTF-16 by the zeros among its ASCII characters."""
    for mark, encoding in _WIDE:
        if data.startswith(mark):
            return encoding
    sample = data[:_SAMPLE_BYTES]
    if sample.count(0) * 3 < len(sample):
        return None
    return "utf-16-le" if sample[1::2].count(0) > sample[0::2].count(0) else "utf-16-be"


def _decode_wide(data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        message = f"is not whole {encoding.upper()[:6]} (byte {error.start + 1}); save it as UTF-8"
        raise SourceFault(message) from None
