"""A job with `for_each`, `matrix` or variables, with its rows and combinations, before it is expanded."""

from dataclasses import dataclass

from orchestrator.base.diagnostics import Code
from orchestrator.manifest.findings import Findings
from orchestrator.manifest.job_keys import written_id
from orchestrator.manifest.matrix import read_matrix, size_of
from orchestrator.manifest.nodes import Entry, Mapping, Scalar
from orchestrator.manifest.rows import Rows, SourceRow, read_rows
from orchestrator.manifest.setting import Setting
from orchestrator.manifest.where import select


@dataclass(frozen=True, slots=True)
class JobTemplate:
    """A job of the manifest before it is expanded. `rows` is None without `for_each`."""

    node: Mapping
    rows: list[SourceRow] | None
    columns: frozenset[str]
    matrix: dict[str, list[Entry]]

    @property
    def count(self) -> int:
        """How many jobs it makes, as far as that can be told without filling it in."""
        takes = self.node.entries.get("takes")
        number = takes.value.value if takes and isinstance(takes.value, Scalar) else 1
        each = number if isinstance(number, int) and not isinstance(number, bool) and number > 1 else 1
        return (1 if self.rows is None else len(self.rows)) * size_of(self.matrix) * each


def read_template(node: Mapping, setting: Setting, findings: Findings) -> JobTemplate | None:
    """The job with its rows and combinations; None after reporting why it cannot be expanded."""
    entries = node.entries
    own = findings.for_job(written_id(entries.get("id")))
    matrix = read_matrix(entries.get("matrix"), own)
    if "for_each" not in entries:
        if "where" in entries:
            own.error(Code.INVALID_VALUE, entries["where"].key, "`where` chooses rows of `for_each`, which is missing")
            return None
        return None if matrix is None else JobTemplate(node, None, frozenset(), matrix)
    source = read_rows(entries["for_each"].value, setting.sources, setting.known_rows, own)
    rows = select(source, entries.get("where"), own) if source else None
    if source is None or rows is None or matrix is None:
        return None
    if not rows:
        _warn_empty(source, entries, own)
    return JobTemplate(node, rows, source.columns, matrix)


def _warn_empty(source: Rows, entries: dict[str, Entry], findings: Findings) -> None:
    """No job comes of this: mostly a mistake, and some nights the truth."""
    reason = f"none of the {len(source.rows):,} rows is chosen by `where`" if source.rows else "there are no rows"
    findings.warn(Code.INVALID_VALUE, entries["for_each"].value, f"`for_each` makes no job: {reason}", "for_each")
