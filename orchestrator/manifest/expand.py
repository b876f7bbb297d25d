"""Fills a job in for every row and combination of its matrix."""

from dataclasses import replace
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
from orchestrator.manifest.nodes import Entry, Mapping
from orchestrator.manifest.rows import SourceRow
from orchestrator.manifest.setting import Setting
from orchestrator.manifest.templates import Context, context_of


def expand(template: JobTemplate, setting: Setting, defaults: JobDefaults, jobs: JobList, findings: Findings) -> None:
    """Adds the concrete jobs. A fault of a template is reported once, a fault of filling it in for every row."""
    rows: list[SourceRow | None] = [None] if template.rows is None else [*template.rows]
    origin = _origin(rows[0] if rows else None, findings)
    own = findings.for_job(written_id(template.node.entries.get("id")), origin)
    compiled = compile_job(template, setting, defaults, own)
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
    """Adds the job of one row and combination. One with a fault that is not its row's is left out: nothing will run."""
    own = Findings(findings.file, origin=_origin(row, findings))
    context = context_of(_variables(compiled, row, combination))
    entries, fills = _with_matrix(compiled, combination)
    entries = _with_id(entries, fills.pop("id", None), context, own)
    job = _job(compiled, row, entries, own)
    if fault is not None:
        jobs.add(replace(job, faults=(fault,), is_broken=True), None, Findings(findings.file))
        return
    own.job = job.id
    filled = fill_entries(entries, fills, context, own)
    defaults = fill_entries(compiled.defaults, compiled.default_fills, context, own)
    takes = None
    if filled is not None and defaults is not None:
        takes = read_takes(filled.get("takes"), own)
        job = _filled(job, compiled, filled, defaults, own)
    findings.errors.extend(own.errors)
    faults = tuple(error for error in own.errors if job.blames_row(error))
    if len(faults) == len(own.errors):
        is_broken = filled is None or defaults is None
        jobs.add(
            replace(job, faults=faults, is_broken=is_broken) if faults else job,
            takes,
            findings.for_job(job.id, job.origin),
        )


def _origin(row: SourceRow | None, findings: Findings) -> str | None:
    return "; ".join(place for place in (findings.origin, row and row.row.place) if place) or None


def _variables(compiled: CompiledJob, row: SourceRow | None, combination: dict[str, MatrixValue]) -> dict[str, Any]:
    """The matrix goes before the row, and the row before `vars`."""
    chosen = {name: value.variable for name, value in combination.items()}
    if row is None:
        return {**compiled.variables, **chosen}
    return {ROW: row.variables, **compiled.variables, **row.variables, **chosen}


def _with_matrix(
    compiled: CompiledJob, combination: dict[str, MatrixValue]
) -> tuple[dict[str, Entry], dict[str, Fill]]:
    entries, fills = dict(compiled.entries), dict(compiled.fills)
    for name, value in combination.items():
        if value.entry is not None:
            entries[name] = value.entry
        if value.fill is not None:
            fills[name] = value.fill
    return entries, fills


def _with_id(entries: dict[str, Entry], fill: Fill | None, context: Context, own: Findings) -> dict[str, Entry]:
    return entries if fill is None else fill_entries(entries, {"id": fill}, context, own) or entries


def _job(compiled: CompiledJob, row: SourceRow | None, entries: dict[str, Entry], own: Findings) -> ManifestJob:
    """The job by name; where the name could not be filled in, it has none."""
    node = Mapping(entries, compiled.node.line, compiled.node.column)
    return ManifestJob(
        ordinal=0,
        id=None if own.errors else read_id(entries["id"], node, own),
        node=node,
        labels=compiled.labels,
        extra={},
        fields={},
        row=row.row if row else None,
        is_template=True,
        filled=compiled.filled,
        of_row=compiled.of_row,
        origin=own.origin,
    )


def _filled(
    job: ManifestJob, compiled: CompiledJob, entries: dict[str, Entry], defaults: dict[str, Entry], own: Findings
) -> ManifestJob:
    """The whole job from the entries of its template, filled in."""
    return replace(
        job,
        node=Mapping(entries, job.node.line, job.node.column),
        labels=values.labels(entries["labels"], own) if "labels" in compiled.fills else compiled.labels,
        extra=read_extra(entries["extra"], own) if "extra" in compiled.fills else compiled.extra,
        fields={name: entry for name, entry in entries.items() if name not in JOB_KEYS},
        has_gate=read_gate(entries.get("gate"), own),
        defaults=defaults,
    )
