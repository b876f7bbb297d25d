"""CSV as people have it: their separators, empty lines, quoted line breaks, and rows that do not fit."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from io import StringIO
from typing import NamedTuple

from orchestrator.manifest.files import MAX_ROWS_BYTES
from orchestrator.manifest.line_breaks import normalize
from orchestrator.manifest.table_text import ESCAPED, byte_of
from orchestrator.manifest.values import shorten

_SEPARATORS = (",", ";", "\t", "|")
_SEPARATOR_LINE = "sep="  # Excel's own first line


class Record(NamedTuple):
    """One row. `number` counts as spreadsheets do (the header is mostly 1), `line` is where it begins; both 1-based.

    `cells` go by column, with LF as their only line break: how the file was saved makes no other prompt. `raw` is the
    text that they were read from; `fault` says why the row cannot be used.
    """

    number: int
    line: int
    cells: dict[str, str]
    raw: str
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """The named columns with their 1-based places in the header's line, and the rows that are not empty."""

    columns: dict[str, int]
    header_line: int
    records: list[Record]


class CsvFault(Exception):
    """The file cannot be used; `line` is 1-based."""

    def __init__(self, message: str, line: int = 1) -> None:
        super().__init__(message)
        self.message = message
        self.line = line


def read_csv(text: str) -> Table:
    """Raises CsvFault where the header is unusable, or the file breaks off in quotes."""
    csv.field_size_limit(MAX_ROWS_BYTES)
    skipped = 1 if text[:4].lower() == _SEPARATOR_LINE else 0
    rows = _rows(text, _separator(text), skipped)
    header = next((row for row in rows if row.cells or row.fault), None)
    if header is None or header.fault:
        raise CsvFault(header.fault if header and header.fault else "is empty: its first row must name the columns")
    names = [name.strip() for name in header.cells]
    columns = _columns(names, header)
    unnamed = [index for index, name in enumerate(names) if not name]
    records = []
    for row in rows:
        if row.cells or row.fault:
            _check_unnamed(row, unnamed)
            records.append(_record(names, row))
    return Table(columns, header.line, records)


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


class _Row(NamedTuple):
    """`cells` are none where all are empty."""

    number: int
    line: int
    cells: list[str]
    raw: str
    fault: str | None = None


def _separator(text: str) -> str:
    """What separates the names of the header: the most frequent one there, outside quotes."""
    if text[:4].lower() == _SEPARATOR_LINE and text[4:5] in _SEPARATORS:
        return text[4]
    header = next((line for line in StringIO(text, newline="") if line.strip()), "")
    outside_quotes = "".join(header.split('"')[::2])
    return max(_SEPARATORS, key=outside_quotes.count)  # the first one where there is none


def _rows(text: str, separator: str, skipped: int) -> Iterator[_Row]:
    """Every row; line breaks within quotes belong to their row. `skipped` rows at the beginning are none."""
    lines: list[str] = []

    def recorded() -> Iterator[str]:
        for line in StringIO(text, newline=""):
            lines.append(line)
            yield line

    reader = csv.reader(recorded(), delimiter=separator, skipinitialspace=True, strict=True)
    number, next_line = 0, 1
    while True:
        fault = None
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if "unexpected end of data" in str(error):
                raise CsvFault(f"breaks off in the quotes that open in row {number + 1}", next_line) from None
            cells, fault = [], 'has text after a closing quote; write a quote inside a cell twice (`""`)'
        number, line, next_line = number + 1, next_line, reader.line_num + 1
        if number > skipped:
            is_empty = not any(cell.strip() for cell in cells)
            yield _Row(number, line, [] if is_empty else cells, "".join(lines), fault)
        lines.clear()


def _columns(names: list[str], header: _Row) -> dict[str, int]:
    columns: dict[str, int] = {}
    for index, (name, place) in enumerate(zip(names, cell_places(header.cells, header.raw), strict=True)):
        if name in columns:
            raise CsvFault(f"has the column `{shorten(name)}` twice (again as column {index + 1})", header.line)
        if found := ESCAPED.search(name):
            raise CsvFault(f"is not UTF-8 in its header (byte {byte_of(found[0])})", header.line)
        if name:
            columns[name] = place
    return columns


def _check_unnamed(row: _Row, unnamed: list[int]) -> None:
    for index in unnamed:
        if index < len(row.cells) and row.cells[index].strip():
            raise CsvFault(f"has no name for column {index + 1}, which row {row.number} uses", row.line)


def _record(names: list[str], row: _Row) -> Record:
    cells = {name: normalize(cell) for name, cell in zip(names, row.cells, strict=False) if name}
    return Record(row.number, row.line, cells, row.raw, row.fault or _fault(names, row))


def _fault(names: list[str], row: _Row) -> str | None:
    if len(row.cells) < len(names) or any(cell.strip() for cell in row.cells[len(names) :]):
        return f"has {len(row.cells)} cells, but the header names {len(names)} columns"
    if not row.raw.isascii() and (found := ESCAPED.search(row.raw)):
        return f"is not UTF-8 (byte {byte_of(found[0])})"
    return "contains a NUL character" if "\0" in row.raw else None
