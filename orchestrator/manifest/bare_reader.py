"""Opens a bare list of jobs by its name."""

from pathlib import PurePosixPath

from orchestrator.base.diagnostics import Code
from orchestrator.manifest.bare import BareList
from orchestrator.manifest.cells import is_column, report_unknown
from orchestrator.manifest.csv_list import CsvList
from orchestrator.manifest.csv_reader import CsvFault, Table
from orchestrator.manifest.files import MAX_ROWS_BYTES, SourceFault, Sources
from orchestrator.manifest.findings import Findings
from orchestrator.manifest.json_list import JsonList
from orchestrator.manifest.nodes import Scalar
from orchestrator.manifest.provider_fields import ProviderFields
from orchestrator.manifest.rows import JSONL_SUFFIXES
from orchestrator.manifest.table_text import decode_table

_START = Scalar(None, 1, 1)


def read_bare(name: str, sources: Sources, fields: ProviderFields, findings: Findings) -> BareList | None:
    """The jobs of the file; None after reporting what is wrong with the whole file."""
    try:
        decoded = decode_table(sources.read(name, MAX_ROWS_BYTES))
    except SourceFault as fault:
        findings.error(Code.MANIFEST_UNREADABLE, _START, f"the file {fault.message}")
        return None
    if decoded.guessed:
        message = f"the file is not UTF-8; it was read as {decoded.guessed}; if that is wrong, save it as UTF-8"
        findings.warn(Code.ENCODING_GUESSED, _START, message)
    if PurePosixPath(name).suffix.lower() in JSONL_SUFFIXES:
        return JsonList(decoded.text, fields, findings.file)
    try:
        table = Table(decoded.text)
        found = CsvList(table, fields, findings.file)
    except CsvFault as fault:
        findings.error(Code.YAML_SYNTAX, Scalar(None, fault.line, 1), f"the file {fault.message}")
        return None
    return found if _check_columns(table, fields, findings) else None


def _check_columns(table: Table, fields: ProviderFields, findings: Findings) -> bool:
    errors_before = len(findings.errors)
    for name, column in table.columns.items():
        if not name.startswith("x-") and not is_column(name, fields):
            report_unknown(name, Scalar(None, table.header_line, column), fields, findings)
    if "id" not in table.columns:
        place = Scalar(None, table.header_line, 1)
        findings.error(Code.MISSING_FIELD, place, "the header needs a column `id`: each job has its own", "id")
    return len(findings.errors) == errors_before
