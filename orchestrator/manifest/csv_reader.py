"""CSV as people have it: their separators, empty lines, quoted line breaks, and rows that do not fit."""

import csv
from array import array
from collections.abc import Iterable, Iterator
from io import StringIO
from itertools import count
from typing import NamedTuple, Protocol

from orchestrator.manifest.files import MAX_ROWS_BYTES
from orchestrator.manifest.line_breaks import normalize
from orchestrator.manifest.table_text import ESCAPED, byte_of
from orchestrator.manifest.values import shorten

_SEPARATORS = (",", ";", "\t", "|")
_SEPARATOR_LINE = "sep="  # Excel's own first line


class Record(NamedTuple):
    """One row. `number` counts as spreadsheets do (the header is mostly 1), `line` is where it begins; both 1-based.

    `cells` go by the header's columns, with LF as their only line break: how the file was saved makes no other prompt.
    There are none where all are empty. `raw` is the text that they were read from; `fault` says why the row cannot be
    used.
    """

    number: int
    line: int
    cells: list[str]
    raw: str
    fault: str | None = None


class CsvFault(Exception):
    """The file cannot be used; `line` is 1-based."""

    def __init__(self, message: str, line: int = 1) -> None:
        super().__init__(message)
        self.message = message
        self.line = line


class _Reader(Protocol):
    @property
    def line_num(self) -> int: ...
    def __next__(self) -> list[str]: ...


class Table:
    """A table as text. `names` are those of its columns, `columns` the named ones with their 1-based places in the line
    of the header.

    Raises CsvFault where the header is unusable, or the file breaks off in quotes.
    """

    def __init__(self, text: str) -> None:
        csv.field_size_limit(MAX_ROWS_BYTES)
        self._lines = list(StringIO(text, newline=""))
        self._is_odd = "\0" in text or not (text.isascii() or ESCAPED.search(text) is None)
        self._starts = array("Q")
        self._separator = _separator(self._lines)
        self._rows = self._read(skipped=1 if text[:4].lower() == _SEPARATOR_LINE else 0)
        header = next((row for row in self._rows if row.cells or row.fault), None)
        if header is None or header.fault:
            raise CsvFault(header.fault if header and header.fault else "is empty: its first row must name the columns")
        self.header_line = header.line
        self.names = [name.strip() for name in header.cells]
        self.columns = _columns(self.names, header)

    def records(self) -> Iterator[Record]:
        """The rows that are not empty, once. Raises CsvFault where the file cannot be used after all."""
        unnamed = [index for index, name in enumerate(self.names) if not name]
        is_odd = bool(unnamed) or self._is_odd
        width = len(self.names)
        for row in self._rows:
            if not is_odd and len(row.cells) == width and "\r" not in row.raw.rstrip("\r\n"):
                yield row
            elif row.cells or row.fault:
                _check_unnamed(row, unnamed)
                yield self._checked(row)

    def record(self, number: int) -> Record:
        """One of those rows once more, when all were read."""
        start, end = self._starts[number - 1 : number + 1]
        lines = self._lines[start:end]
        cells, fault = _cells(self._reader(lines), number, start + 1)
        return self._checked(Record(number, start + 1, cells, "".join(lines), fault))

    def by_name(self, record: Record) -> dict[str, str]:
        """The cells of a row by their columns."""
        cells = dict(zip(self.names, record.cells, strict=False))
        if len(self.columns) < len(self.names):
            cells.pop("", None)
        return cells

    def _read(self, skipped: int) -> Iterator[Record]:
        """Every row; line breaks within quotes belong to their row. `skipped` rows at the beginning are none."""
        reader = self._reader(self._lines)
        start = 0
        for number in count(1):
            self._starts.append(start)
            try:
                cells, fault = _cells(reader, number, start + 1)
            except StopIteration:
                return
            end = reader.line_num
            if number > skipped:
                raw = self._lines[start] if end == start + 1 else "".join(self._lines[start:end])
                yield Record(number, start + 1, cells if "".join(cells).strip() else [], raw, fault)
            start = end

    def _reader(self, lines: Iterable[str]) -> "_Reader":
        return csv.reader(lines, delimiter=self._separator, skipinitialspace=True, strict=True)

    def _checked(self, row: Record) -> Record:
        """The row with its line breaks made LF, and what is wrong with it."""
        if "\r" in row.raw.rstrip("\r\n"):
            row = row._replace(cells=list(map(normalize, row.cells)))
        fault = row.fault or _fault(self.names, row)
        return row if fault is None else row._replace(fault=fault)


def cell_places(cells: list[str], raw: str) -> list[int]:
    """The 1-based places of a row's cells in its line; 1 after a line break within the row."""
    places = []
    at = 0
    first_line_ends_at = min(found for found in (raw.find("\n"), raw.find("\r"), len(raw)) if found >= 0)
    for cell in cells:
        while raw.startswith(" ", at):
            at += 1
        places.append(1 if at > first_line_ends_at else at + 1)
        at += len(cell) + 1 + (cell.count('"') + 2 if raw.startswith('"', at) else 0)
    return places


def _separator(lines: list[str]) -> str:
    """What separates the names of the header: the most frequent one there, outside quotes."""
    if lines and lines[0][:4].lower() == _SEPARATOR_LINE and lines[0][4:5] in _SEPARATORS:
        return lines[0][4]
    header = next((line for line in lines if line.strip()), "")
    outside_quotes = "".join(header.split('"')[::2])
    return max(_SEPARATORS, key=outside_quotes.count)  # the first one where there is none


def _cells(reader: _Reader, number: int, line: int) -> tuple[list[str], str | None]:
    """The next row's cells, or why it has none. Raises StopIteration at the end."""
    try:
        return next(reader), None
    except csv.Error as error:
        if "unexpected end of data" in str(error):
            raise CsvFault(f"breaks off in the quotes that open in row {number}", line) from None
        return [], 'has text after a closing quote; write a quote inside a cell twice (`""`)'


def _columns(names: list[str], header: Record) -> dict[str, int]:
    columns: dict[str, int] = {}
    for index, (name, place) in enumerate(zip(names, cell_places(header.cells, header.raw), strict=True)):
        if name in columns:
            raise CsvFault(f"has the column `{shorten(name)}` twice (again as column {index + 1})", header.line)
        if found := ESCAPED.search(name):
            raise CsvFault(f"is not UTF-8 in its header (byte {byte_of(found[0])})", header.line)
        if name:
            columns[name] = place
    return columns


def _check_unnamed(row: Record, unnamed: list[int]) -> None:
    for index in unnamed:
        if index < len(row.cells) and row.cells[index].strip():
            raise CsvFault(f"has no name for column {index + 1}, which row {row.number} uses", row.line)


def _fault(names: list[str], row: Record) -> str | None:
    if len(row.cells) != len(names) and (len(row.cells) < len(names) or "".join(row.cells[len(names) :]).strip()):
        return f"has {len(row.cells)} cells, but the header names {len(names)} columns"
    if not row.raw.isascii() and (found := ESCAPED.search(row.raw)):
        return f"is not UTF-8 (byte {byte_of(found[0])})"
    return "contains a NUL character" if "\0" in row.raw else None
