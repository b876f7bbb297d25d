"""Fills a job in for every row and combination of its matrix."""

from dataclasses import dataclass
from typing import Any

from orchestrator.base.diagnostics import Code, Diagnostic
from orchestrator.manifest import values
from orchestrator.manifest.compiled_job import ROW, CompiledJob, MatrixValue, compile_job
from orchestrator.manifest.filling import fill_entries
from orchestrator.manifest.findings import Findings
from orchestrator.manifest.job_keys import (
    JOB_KEYS,
    JobDefaults,
    ManifestJob,
    read_extra,
    read_gate,
    read_id,
    read_takes,
    written_id,
)
from orchestrator.manifest.job_list import JobList
from orchestrator.manifest.job_template import JobTemplate
from orchestrator.manifest.nodes import Entry, Mapping, native
from orchestrator.manifest.outline import outline_of
from orchestrator.manifest.patterns import Patterns
from orchestrator.manifest.row import Row
from orchestrator.manifest.rows import SourceRow
from orchestrator.manifest.setting import Setting
from orchestrator.manifest.templates import Scope

Combination = dict[str, MatrixValue]


def expand(template: JobTemplate, setting: Setting, defaults: JobDefaults, jobs: JobList, findings: Findings) -> None:
    """Adds the concrete jobs. A fault of a template is reported once, a fault of filling it in for every row."""
    rows: list[SourceRow | None] = [None] if template.rows is None else [*template.rows]
    own = findings.for_job(written_id(template.node.entries.get("id")), findings.origin)
    compiled = compile_job(template, setting, defaults, _origin(rows[0] if rows else None, findings), own)
    if compiled is not None:
        _Expansion(compiled, rows, jobs, findings).add_jobs()


class _Expansion:
    """The rows of one job, each with all combinations of its matrix; those are counted from 0, in their order."""

    def __init__(self, compiled: CompiledJob, rows: list[SourceRow | None], jobs: JobList, findings: Findings) -> None:
        self._compiled = compiled
        self._rows = rows
        self._combinations = list(compiled.combinations())
        self._jobs = jobs
        self._findings = findings
        self._outline = outline_of(compiled)
        self._patterns = Patterns(jobs, self._read_again)

    def add_jobs(self) -> None:
        """Adds all of them."""
        number = 0
        for row in self._rows:
            fault = _row_fault(row, self._compiled.node, self._findings) if row and row.fault else None
            for combination in range(len(self._combinations)):
                if fault is None:
                    self._add(number, row, combination)
                else:
                    self._add_faulty(row, combination, fault)
                number += 1

    def _add(self, number: int, row: SourceRow | None, combination: int) -> None:
        scope = Scope(_variables(self._compiled, row, self._combinations[combination]))
        found = self._outline.of(scope) if self._outline else None
        form = found and (combination, found.form)
        columns, place = (row.columns, row.place) if row else (None, None)
        if found and self._patterns.add_repeat(form, number, found.id, found.prompt, found.labels, columns, place):
            return
        own = self._own_findings(row)
        job, takes = self._read(row, combination, self._jobs.next_ordinal, own)
        self._findings.errors.extend(own.errors)
        is_sound = not own.errors
        own.errors = self._findings.errors
        errors_before = len(own.errors)
        self._jobs.add(job, takes, own)
        if is_sound and len(own.errors) == errors_before:
            self._patterns.learn(form)

    def _add_faulty(self, row: SourceRow | None, combination: int, fault: Diagnostic) -> None:
        """Adds a job that cannot be read because its row cannot."""
        own = self._own_findings(row)
        entries, _ = self._begun(row, combination, own)
        job = _job(self._compiled, row, entries, None, (fault,), own, self._jobs.next_ordinal)
        self._jobs.add(job, None, Findings(self._findings.file))

    def _read_again(self, number: int, ordinal: int) -> ManifestJob:
        at, combination = divmod(number, len(self._combinations))
        job, _ = self._read(self._rows[at], combination, ordinal, self._own_findings(self._rows[at]))
        return job

    def _read(
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
        chosen = self._combinations[combination]
        variables = _variables(self._compiled, row, chosen)
        entries = self._compiled.entries | _matrix_fields(chosen, variables, own)
        scope = Scope(variables)
        fill = self._compiled.fills.get("id")
        if fill is not None:
            entries = fill_entries(entries, {"id": fill}, scope, own) or entries
        own.job = None if own.errors else read_id(entries["id"], self._compiled.node, own)
        return entries, scope

    def _own_findings(self, row: SourceRow | None) -> Findings:
        return Findings(self._findings.file, origin=_origin(row, self._findings))


def _row_fault(row: SourceRow, node: Mapping, findings: Findings) -> Diagnostic:
    """The row cannot be used: said once, at `for_each`."""
    findings.error(Code.YAML_SYNTAX, node.entries["for_each"].value, f"{row.place} {row.fault}", "for_each")
    return findings.errors[-1]


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


def _origin(row: SourceRow | None, findings: Findings) -> str | None:
    return "; ".join(place for place in (findings.origin, row and row.place) if place) or None


def _variables(compiled: CompiledJob, row: SourceRow | None, combination: dict[str, MatrixValue]) -> dict[str, Any]:
    """The matrix goes before the row, and the row before `vars`."""
    chosen = {name: value.variable for name, value in combination.items()}
    if row is None:
        return {**compiled.variables, **chosen}
    return {ROW: row.variables, **compiled.variables, **row.variables, **chosen}


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
