"""The jobs that a job makes of its rows and the combinations of its matrix."""

from dataclasses import dataclass
from typing import Any

from orchestrator.base.diagnostics import Diagnostic
from orchestrator.manifest import values
from orchestrator.manifest.compiled_job import ROW, CompiledJob, MatrixValue
from orchestrator.manifest.filling import fill_entries
from orchestrator.manifest.findings import Findings
from orchestrator.manifest.job_keys import JOB_KEYS, ManifestJob, read_extra, read_gate, read_id, read_takes
from orchestrator.manifest.nodes import Entry, Mapping, native
from orchestrator.manifest.row import Row
from orchestrator.manifest.rows import SourceRow
from orchestrator.manifest.templates import Scope

Combination = dict[str, MatrixValue]


class RowJobs:
    """Reads the job of each row (None without `for_each`) and combination; `origin` is what the template is from."""

    def __init__(self, compiled: CompiledJob, rows: list[SourceRow | None], file: str, origin: str | None) -> None:
        self.rows = rows
        self.combinations = list(compiled.combinations())
        self._chosen = [{name: value.variable for name, value in each.items()} for each in self.combinations]
        self._compiled = compiled
        self._file = file
        self._origin = origin

    def number(self, at: int, combination: int) -> int:
        """What stands for a row and a combination in `again`."""
        return at * len(self.combinations) + combination

    def again(self, number: int, ordinal: int) -> ManifestJob:
        """A job without faults once more."""
        at, combination = divmod(number, len(self.combinations))
        job, _ = self.job(self.rows[at], combination, ordinal, self.findings(self.rows[at]))
        return job

    def findings(self, row: SourceRow | None) -> Findings:
        """Of one job, empty."""
        return Findings(self._file, origin=origin_of(row, self._origin))

    def variables(self, row: SourceRow | None, combination: int) -> dict[str, Any]:
        """The matrix goes before the row, and the row before `vars`."""
        chosen = self._chosen[combination]
        if row is None:
            return {**self._compiled.variables, **chosen}
        return {ROW: row.variables, **self._compiled.variables, **row.variables, **chosen}

    def faulty(self, row: SourceRow | None, combination: int, fault: Diagnostic, ordinal: int) -> ManifestJob:
        """The job of a row that cannot be used."""
        own = self.findings(row)
        entries, _ = self._begun(row, combination, own)
        return _job(self._compiled, row, entries, None, (fault,), own, ordinal)

    def job(
        self, row: SourceRow | None, combination: int, ordinal: int, own: Findings
    ) -> tuple[ManifestJob, int | None]:
        """The job, with those of its faults that are its row's, and how many takes of it there are to be."""
        compiled = self._compiled
        entries, scope = self._begun(row, combination, own)
        fills = {name: fill for name, fill in compiled.fills.items() if name != "id"}
        filled = fill_entries(entries, fills, scope, own)
        defaults = fill_entries(compiled.defaults, compiled.default_fills, scope, own)
        parts = None if own.errors or filled is None or defaults is None else _parts(compiled, filled, defaults, own)
        faults = tuple(error for error in own.errors if row and (error.line, error.column) in compiled.of_row)
        job = _job(compiled, row, entries if filled is None else filled, parts, faults, own, ordinal)
        return job, parts.takes if parts else None

    def _begun(self, row: SourceRow | None, combination: int, own: Findings) -> tuple[dict[str, Entry], Scope]:
        """The job's entries with those of the matrix and with its id, under which its findings go from here on."""
        variables = self.variables(row, combination)
        entries = self._compiled.entries | _matrix_fields(self.combinations[combination], variables, own)
        scope = Scope(variables)
        fill = self._compiled.fills.get("id")
        if fill is not None:
            entries = fill_entries(entries, {"id": fill}, scope, own) or entries
        own.job = None if own.errors else read_id(entries["id"], self._compiled.node, own)
        return entries, scope


@dataclass(frozen=True, slots=True)
class _Parts:
    """What a job has when all of it could be filled in."""

    labels: dict[str, str]
    extra: dict[str, Entry]
    fields: dict[str, Entry]
    defaults: dict[str, Entry]
    takes: int | None
    has_gate: bool


def _parts(compiled: CompiledJob, entries: dict[str, Entry], defaults: dict[str, Entry], own: Findings) -> _Parts:
    return _Parts(
        labels=values.labels(entries["labels"], own) if "labels" in compiled.fills else compiled.labels,
        extra=read_extra(entries["extra"], own) if "extra" in compiled.fills else compiled.extra,
        fields={name: entry for name, entry in entries.items() if name not in JOB_KEYS},
        defaults=defaults,
        takes=read_takes(entries.get("takes"), own),
        has_gate=read_gate(entries.get("gate"), own),
    )


def _job(
    compiled: CompiledJob,
    row: SourceRow | None,
    entries: dict[str, Entry],
    parts: _Parts | None,
    faults: tuple[Diagnostic, ...],
    own: Findings,
    ordinal: int,
) -> ManifestJob:
    """The job; without its `parts` it is broken."""
    return ManifestJob(
        ordinal=ordinal,
        id=own.job,
        node=Mapping(entries, compiled.node.line, compiled.node.column),
        labels=parts.labels if parts else compiled.labels,
        extra=parts.extra if parts else {},
        fields=parts.fields if parts else {},
        has_gate=parts is not None and parts.has_gate,
        row=Row(row.columns, row.place) if row else None,
        is_template=True,
        defaults=parts.defaults if parts else {},
        filled=compiled.filled,
        of_row=compiled.of_row,
        faults=faults,
        is_broken=parts is None,
        origin=own.origin,
    )


def origin_of(row: SourceRow | None, origin: str | None) -> str | None:
    """Where a job is from whose template is from `origin`, if that is another file."""
    return "; ".join(place for place in (origin, row and row.place) if place) or None


def _matrix_fields(
    combination: dict[str, MatrixValue], variables: dict[str, Any], findings: Findings
) -> dict[str, Entry]:
    """The fields that the matrix sets. Values of it that are templates are filled in, in `variables`, too."""
    fields = {}
    for name, value in combination.items():
        entry = value.entry
        if value.fill is not None:
            node = value.fill(Scope(variables), findings)
            if node is None:
                continue
            entry = Entry(entry.key, node)
            variables[name] = native(node)
        if value.is_field:
            fields[name] = entry
    return fields
