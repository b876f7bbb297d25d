"""Fills a job in for every row and combination of its matrix."""

from dataclasses import dataclass
from typing import Any

from orchestrator.base.diagnostics import Code, Diagnostic
from orchestrator.manifest import values
from orchestrator.manifest.compiled_job import ROW, CompiledJob, MatrixValue, compile_job
from orchestrator.manifest.filling import Fill, fill_entries
from orchestrator.manifest.findings import Findings
from orchestrator.manifest.job_keys import (
    JOB_KEYS,
    JobDefaults,
    JobList,
    ManifestJob,
    read_extra,
    read_gate,
    read_id,
    read_takes,
    written_id,
)
from orchestrator.manifest.job_template import JobTemplate
from orchestrator.manifest.nodes import Entry, Mapping, native
from orchestrator.manifest.rows import SourceRow
from orchestrator.manifest.setting import Setting
from orchestrator.manifest.templates import Context, context_of


def expand(template: JobTemplate, setting: Setting, defaults: JobDefaults, jobs: JobList, findings: Findings) -> None:
    """Adds the concrete jobs. A fault of a template is reported once, a fault of filling it in for every row."""
    rows: list[SourceRow | None] = [None] if template.rows is None else [*template.rows]
    own = findings.for_job(written_id(template.node.entries.get("id")), findings.origin)
    compiled = compile_job(template, setting, defaults, _origin(rows[0] if rows else None, findings), own)
    if compiled is None:
        return
    for row in rows:
        fault = _row_fault(row, template.node, findings) if row and row.fault else None
        for combination in compiled.combinations():
            _add(compiled, row, combination, fault, jobs, findings)


def _row_fault(row: SourceRow, node: Mapping, findings: Findings) -> Diagnostic:
    """The row cannot be used: said once, at `for_each`."""
    findings.error(Code.YAML_SYNTAX, node.entries["for_each"].value, f"{row.row.place} {row.fault}", "for_each")
    return findings.errors[-1]


def _add(
    compiled: CompiledJob,
    row: SourceRow | None,
    combination: dict[str, MatrixValue],
    fault: Diagnostic | None,
    jobs: JobList,
    findings: Findings,
) -> None:
    """Adds the job of one row and combination, with those of its faults that are its row's."""
    own = Findings(findings.file, origin=_origin(row, findings))
    variables = _variables(compiled, row, combination)
    entries = compiled.entries | _matrix_fields(combination, variables, own)
    context = context_of(variables)
    fills = dict(compiled.fills)
    entries = _with_id(entries, fills.pop("id", None), context, own)
    own.job = None if own.errors else read_id(entries["id"], compiled.node, own)
    if fault is not None:
        jobs.add(_job(compiled, row, entries, None, (fault,), own, jobs.next_ordinal), None, Findings(findings.file))
        return
    filled = fill_entries(entries, fills, context, own)
    defaults = fill_entries(compiled.defaults, compiled.default_fills, context, own)
    parts = None if own.errors or filled is None or defaults is None else _parts(compiled, filled, defaults, own)
    findings.errors.extend(own.errors)
    faults = tuple(error for error in own.errors if row and (error.line, error.column) in compiled.of_row)
    job = _job(compiled, row, entries if filled is None else filled, parts, faults, own, jobs.next_ordinal)
    own.errors = findings.errors
    jobs.add(job, parts.takes if parts else None, own)


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
        row=row.row if row else None,
        is_template=True,
        defaults=parts.defaults if parts else {},
        filled=compiled.filled,
        of_row=compiled.of_row,
        faults=faults,
        is_broken=parts is None,
        origin=own.origin,
    )


def _origin(row: SourceRow | None, findings: Findings) -> str | None:
    return "; ".join(place for place in (findings.origin, row and row.row.place) if place) or None


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
            node = value.fill(context_of(variables), findings)
            if node is None:
                continue
            entry = Entry(entry.key, node)
            variables[name] = native(node)
        if value.is_field:
            fields[name] = entry
    return fields


def _with_id(entries: dict[str, Entry], fill: Fill | None, context: Context, own: Findings) -> dict[str, Entry]:
    return entries if fill is None else fill_entries(entries, {"id": fill}, context, own) or entries
