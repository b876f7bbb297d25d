"""A CSV or JSONL file as a bare list of jobs."""

import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import NamedTuple

from orchestrator.base.diagnostics import Code
from orchestrator.manifest.cells import is_column, read_cells, report_unknown
from orchestrator.manifest.csv_reader import CsvFault, Record, Table, cell_places, read_csv
from orchestrator.manifest.files import MAX_ROWS_BYTES, SourceFault, Sources
from orchestrator.manifest.findings import Findings
from orchestrator.manifest.json_lines import read_json_lines
from orchestrator.manifest.nodes import Mapping, Scalar
from orchestrator.manifest.provider_fields import ProviderFields
from orchestrator.manifest.row import Row
from orchestrator.manifest.rows import CSV_SUFFIXES, JSONL_SUFFIXES
from orchestrator.manifest.table_text import decode_table

BARE_SUFFIXES = (CSV_SUFFIXES | JSONL_SUFFIXES) - {".txt"}  # a manifest of that name is YAML
_START = Scalar(None, 1, 1)
_NOT_IN_NAMES = re.compile(r"[^a-z0-9]+")
_MAX_NAME = 64


class BareJob(NamedTuple):
    """A job of a bare list. `is_cells`: its values are text that was never told apart from numbers.

    `origin` is what messages name where its places are not its own.
    """

    node: Mapping
    row: Row
    findings: Findings
    is_cells: bool
    origin: str | None = None


def is_bare(name: str) -> bool:
    """Whether a file of this name is a bare list of jobs."""
    return PurePosixPath(name).suffix.lower() in BARE_SUFFIXES


def collection_name(name: str) -> str:
    """A file's name as a collection's: `Spring 2027.csv` gives `spring-2027`."""
    stem = PurePosixPath(name).stem.lower()
    return _NOT_IN_NAMES.sub("-", stem).strip("-")[:_MAX_NAME].strip("-") or "jobs"


def read_bare(name: str, sources: Sources, fields: ProviderFields, findings: Findings) -> Iterator[BareJob]:
    """The jobs of the file, each with findings of its own; what is wrong with the whole file goes to `findings`."""
    try:
        decoded = decode_table(sources.read(name, MAX_ROWS_BYTES))
    except SourceFault as fault:
        findings.error(Code.MANIFEST_UNREADABLE, _START, f"the file {fault.message}")
        return
    if decoded.guessed:
        message = f"the file is not UTF-8; it was read as {decoded.guessed}; if that is wrong, save it as UTF-8"
        findings.warn(Code.ENCODING_GUESSED, _START, message)
    if PurePosixPath(name).suffix.lower() in JSONL_SUFFIXES:
        yield from _json_jobs(decoded.text, findings.file)
        return
    try:
        table = read_csv(decoded.text)
    except CsvFault as fault:
        findings.error(Code.YAML_SYNTAX, Scalar(None, fault.line, 1), f"the file {fault.message}")
        return
    if _check_columns(table, fields, findings):
        for record in table.records:
            yield _csv_job(record, fields, findings.file)


def _json_jobs(text: str, file: str) -> Iterator[BareJob]:
    for line in read_json_lines(text, file):
        yield BareJob(line.node or Mapping({}, line.number, 1), Row({}, f"row {line.number}"), line.findings, False)


def _check_columns(table: Table, fields: ProviderFields, findings: Findings) -> bool:
    errors_before = len(findings.errors)
    for name, column in table.columns.items():
        if not name.startswith("x-") and not is_column(name, fields):
            report_unknown(name, Scalar(None, table.header_line, column), fields, findings)
    if "id" not in table.columns:
        place = Scalar(None, table.header_line, 1)
        findings.error(Code.MISSING_FIELD, place, "the header needs a column `id`: each job has its own", "id")
    return len(findings.errors) == errors_before


def _csv_job(record: Record, fields: ProviderFields, file: str) -> BareJob:
    own = Findings(file, record.cells.get("id") or None)
    if record.fault:
        own.error(Code.YAML_SYNTAX, Scalar(None, record.line, 1), f"the row {record.fault}")
    columns = cell_places(list(record.cells.values()), record.raw)
    places = {name: (record.line, column) for name, column in zip(record.cells, columns, strict=True)}
    node = read_cells(record.cells, places, fields, own)
    kept = {name: cell for name, cell in record.cells.items() if name.startswith("x-")}
    return BareJob(node, Row(kept, f"row {record.number}"), own, True)
