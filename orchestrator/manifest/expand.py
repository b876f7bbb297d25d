"""Fills a job in for every row and combination of its matrix."""

from orchestrator.base.diagnostics import Code, Diagnostic
from orchestrator.manifest.compiled_job import compile_job
from orchestrator.manifest.findings import Findings
from orchestrator.manifest.job_keys import JobDefaults, written_id
from orchestrator.manifest.job_list import JobList
from orchestrator.manifest.job_template import JobTemplate
from orchestrator.manifest.nodes import Mapping
from orchestrator.manifest.outline import Outline, outline_of
from orchestrator.manifest.patterns import Patterns
from orchestrator.manifest.row_jobs import RowJobs, origin_of
from orchestrator.manifest.rows import SourceRow
from orchestrator.manifest.setting import Setting
from orchestrator.manifest.templates import Scope


def expand(template: JobTemplate, setting: Setting, defaults: JobDefaults, jobs: JobList, findings: Findings) -> None:
    """Adds the concrete jobs. A fault of a template is reported once, a fault of filling it in for every row."""
    rows: list[SourceRow | None] = [None] if template.rows is None else [*template.rows]
    own = findings.for_job(written_id(template.node.entries.get("id")), findings.origin)
    compiled = compile_job(template, setting, defaults, origin_of(rows[0] if rows else None, findings.origin), own)
    if compiled is None:
        return
    read = RowJobs(compiled, rows, findings.file, findings.origin)
    patterns = Patterns(jobs, read.again)
    outline = outline_of(compiled, setting.fields)
    for at, row in enumerate(rows):
        fault = _row_fault(row, template.node, findings) if row and row.fault else None
        for combination in range(len(read.combinations)):
            if fault is not None:
                jobs.add(read.faulty(row, combination, fault, jobs.next_ordinal), None, Findings(findings.file))
            else:
                _add(read, at, combination, outline, patterns, jobs, findings)


def _add(
    read: RowJobs,
    at: int,
    combination: int,
    outline: Outline | None,
    patterns: Patterns,
    jobs: JobList,
    findings: Findings,
) -> None:
    """Adds the job of a row that can be used."""
    row = read.rows[at]
    form = None
    if outline is not None and (outlined := outline.of(Scope(read.variables(row, combination)))) is not None:
        alike, job_id, prompt, labels, pictures = outlined
        form = (combination, alike)
        columns, place = (row.columns, row.place) if row else (None, None)
        if patterns.add_repeat(form, read.number(at, combination), job_id, prompt, labels, columns, place, pictures):
            return
    own = read.findings(row)
    job, takes = read.job(row, combination, jobs.next_ordinal, own)
    is_sound = not own.errors
    findings.errors.extend(own.errors)
    own.errors = findings.errors
    errors_before = len(findings.errors)
    jobs.add(job, takes, own)
    if is_sound and len(findings.errors) == errors_before:
        patterns.learn(form)


def _row_fault(row: SourceRow, node: Mapping, findings: Findings) -> Diagnostic:
    """The row cannot be used: said once, at `for_each`."""
    findings.error(Code.YAML_SYNTAX, node.entries["for_each"].value, f"{row.place} {row.fault}", "for_each")
    return findings.errors[-1]
