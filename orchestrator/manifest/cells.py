"""The cells of a CSV of jobs, as the nodes that a YAML file would have had."""

from orchestrator.base.diagnostics import Code
from orchestrator.manifest.core_schema import resolve
from orchestrator.manifest.findings import Findings
from orchestrator.manifest.json_reader import read_json
from orchestrator.manifest.nodes import Entry, Mapping, Node, Place, Scalar, Sequence, replaced_at
from orchestrator.manifest.provider_fields import ProviderFields
from orchestrator.manifest.suggest import did_you_mean
from orchestrator.manifest.syntax import SyntaxFault
from orchestrator.manifest.values import shorten

NESTING = ("labels", "extra")
"""Columns of these names may have any name after the dot."""
OWN_COLUMNS = ("id", "takes", "gate")


def is_column(name: str, fields: ProviderFields) -> bool:
    """Whether a column is a key of a job; `labels.season` and `video_image_data.first_frame_image_url` are."""
    head, dot, tail = name.partition(".")
    if head in NESTING:
        return bool(tail) or not dot
    return name in fields.names or name in OWN_COLUMNS


def report_unknown(name: str, place: Scalar, fields: ProviderFields, findings: Findings) -> None:
    """A column that is no key of a job."""
    known = (*OWN_COLUMNS, *NESTING, *sorted(fields.names))
    hint = did_you_mean(name, known) or "; put `x-` before its name to keep it for yourself"
    findings.error(Code.UNKNOWN_FIELD, place, f"a job has no field `{shorten(name)}`{hint}", shorten(name))


def read_cells(cells: dict[str, str], places: dict[str, Place], fields: ProviderFields, findings: Findings) -> Mapping:
    """A row as a job. Empty cells are not given, `x-` columns are no keys."""
    line = next((place[0] for place in places.values()), 1)
    job = Mapping({}, line, 1)
    for name, cell in cells.items():
        if not cell.strip() or name.startswith("x-"):
            continue
        place = places[name]
        node = read_cell(name, cell, place, fields, findings)
        if node is not None:
            _put(job, name, place, node)
    return job


def _put(job: Mapping, name: str, place: Place, node: Node) -> None:
    """Puts a value where its dotted name says."""
    head, dot, tail = name.partition(".")
    if not dot:
        job.entries[head] = Entry(Scalar(head, *place), node)
        return
    whole = job.entries.setdefault(head, Entry(Scalar(head, *place), Mapping({}, *place)))
    if isinstance(whole.value, Mapping):
        whole.value.entries[tail] = Entry(Scalar(tail, *place), node)


def read_cell(name: str, cell: str, place: Place, fields: ProviderFields, findings: Findings) -> Node | None:
    """A cell that is not empty; None after reporting why it cannot be read."""
    if name.startswith("extra."):
        return Scalar(resolve(cell.strip()), *place)
    if name == "prompt" or name.startswith("labels."):
        return Scalar(cell, *place)
    text = cell.strip()
    if text[0] in "[{":
        return _json(name, text, place, findings)
    scalar = Scalar(text, *place)
    return Sequence([scalar], *place) if name in fields.lists else scalar


def _json(name: str, text: str, place: Place, findings: Findings) -> Node | None:
    inner = Findings(findings.file)
    try:
        node = read_json(text, inner)
    except SyntaxFault as fault:
        message = f"`{name}` begins as JSON and cannot be read as such: {fault.message}"
        findings.error(Code.YAML_SYNTAX, Scalar(None, *place), message, name)
        return None
    for error in inner.errors:
        findings.error(error.code, Scalar(None, *place), error.message, name)
    return replaced_at(node, place)
