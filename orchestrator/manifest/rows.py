"""`for_each`: the rows of an inline list or of a CSV or JSONL file."""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from orchestrator.base.diagnostics import Code
from orchestrator.manifest import values
from orchestrator.manifest.csv_reader import CsvFault, Table
from orchestrator.manifest.files import MAX_ROWS_BYTES, SourceFault, Sources
from orchestrator.manifest.findings import Findings
from orchestrator.manifest.json_lines import read_json_line, read_quickly
from orchestrator.manifest.nodes import Mapping, Node, Scalar, Sequence, fault_of, native, plain, scalars
from orchestrator.manifest.table_text import decode_table

CSV_SUFFIXES = frozenset({".csv", ".tsv", ".txt"})
JSONL_SUFFIXES = frozenset({".jsonl", ".ndjson"})

_NAME_IT = "to name its encoding: for_each: {file: NAME, encoding: cp1252}"
_FRACTION = re.compile(r"[0-9][.eE]")


class SourceRow(NamedTuple):
    """A row as templates see it (`variables`), and as it is kept (`columns`), from `place`; `fault` says why it cannot
    be used.
    """

    variables: dict[str, Any]
    columns: dict[str, Any]
    place: str
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows and the names of all their columns. `guessed_encoding` is one that the file does not say itself."""

    columns: frozenset[str]
    rows: list[SourceRow]
    guessed_encoding: str | None = None


class RowsFile(NamedTuple):
    """A file of rows; without an `encoding` it is found out."""

    name: str
    encoding: str | None = None


def read_rows(node: Node, sources: Sources, known: dict[RowsFile, Rows], findings: Findings) -> Rows | None:
    """The rows that `for_each` names; None after reporting why there are none. `known` keeps what was read already."""
    if isinstance(node, Sequence):
        return _inline(node, findings)
    file = _rows_file(node)
    if file is None:
        what = "a list of rows, the name of a file, or {file: NAME, encoding: NAME}"
        message = f"`for_each` must be {what}, it is {values.describe(node)}"
        findings.error(Code.INVALID_VALUE, node, message, "for_each")
        return None
    if file in known:
        return known[file]
    shown = f"`{values.shorten(file.name)}`"
    try:
        rows = _read_file(file, sources)
    except SourceFault as fault:
        findings.error(Code.MANIFEST_UNREADABLE, node, f"{shown} {fault.message}", "for_each")
        return None
    except CsvFault as fault:
        findings.error(Code.YAML_SYNTAX, node, f"{shown} {fault.message}", "for_each")
        return None
    if rows.guessed_encoding:
        message = f"{shown} is not UTF-8; it was read as {rows.guessed_encoding}{_sample(rows)}; {_NAME_IT}"
        findings.warn(Code.ENCODING_GUESSED, node, message, "for_each")
    known[file] = rows
    return rows


def _rows_file(node: Node) -> RowsFile | None:
    if isinstance(node, Mapping) and node.entries.keys() == {"file", "encoding"}:
        given = [node.entries[name].value for name in ("file", "encoding")]
    else:
        given = [node]
    texts = [entry.value for entry in given if isinstance(entry, Scalar) and isinstance(entry.value, str)]
    return RowsFile(*texts) if len(texts) == len(given) and all(map(str.strip, texts)) else None


def _inline(node: Sequence, findings: Findings) -> Rows | None:
    rows = []
    for number, item in enumerate(node.items, start=1):
        if not isinstance(item, Mapping):
            message = f"a row of `for_each` must be a mapping of columns, it is {values.describe(item)}"
            findings.error(Code.INVALID_VALUE, item, message, "for_each")
            return None
        for scalar, path in scalars(item, ""):
            if fault := fault_of(scalar.value):
                findings.error(Code.INVALID_VALUE, scalar, f"`{path.lstrip('.')}` {fault}", "for_each")
        rows.append(SourceRow(native(item), plain(item, {}), f"row {number}"))
    return _with_columns(rows)


def _read_file(file: RowsFile, sources: Sources) -> Rows:
    path = PurePosixPath(file.name.replace("\\", "/"))
    suffix = path.suffix.lower()
    if suffix not in CSV_SUFFIXES | JSONL_SUFFIXES:
        raise SourceFault("must be a CSV (.csv, .tsv, .txt) or JSONL (.jsonl, .ndjson) file, or a list of rows")
    decoded = decode_table(sources.read(file.name, MAX_ROWS_BYTES), file.encoding)
    if suffix in JSONL_SUFFIXES:
        return _with_columns(list(_json_rows(decoded.text, path.name)), decoded.guessed)
    table = Table(decoded.text)
    return Rows(frozenset(table.columns), list(_csv_rows(table, path.name)), decoded.guessed)


def _csv_rows(table: Table, file: str) -> Iterator[SourceRow]:
    for record in table.records():
        cells = table.by_name(record)
        yield SourceRow(cells, cells, f"{file}, row {record.number}", record.fault)


def _json_rows(text: str, file: str) -> Iterator[SourceRow]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            place = f"{file}, row {number}"
            yield _quick_row(line, place) or _careful_row(line, place)


def _quick_row(line: str, place: str) -> SourceRow | None:
    """By the standard reader; None for whatever is not plainly a good row."""
    variables = read_quickly(line)
    if not isinstance(variables, dict):
        return None
    try:
        columns = json.loads(line, parse_float=_finite) if _FRACTION.search(line) else variables
    except ValueError:
        return None
    return SourceRow(variables, columns, place)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def _careful_row(line: str, place: str) -> SourceRow:
    """By the reader with places, which says what is wrong."""
    read = read_json_line(1, line, place)
    faults = [error.message for error in read.findings.errors]
    for scalar, path in scalars(read.node or Mapping({}, 1, 1), ""):
        if fault := fault_of(scalar.value):
            faults.append(f"`{path.lstrip('.')}` {fault}")
    if read.node is None or faults:
        return SourceRow({}, {}, place, f"cannot be used: {'; '.join(faults)}")
    return SourceRow(native(read.node), plain(read.node, {}), place)


def _with_columns(rows: list[SourceRow], guessed: str | None = None) -> Rows:
    return Rows(frozenset(name for row in rows for name in row.variables), rows, guessed)


def _sample(rows: Rows) -> str:
    """Text to tell a right guess from a wrong one by."""
    for row in rows.rows:
        for value in row.variables.values():
            if isinstance(value, str) and not value.isascii():
                return f" (`{values.shorten(value, 30)}` in {row.place})"
    return ""
