"""`jobs`: the list, checked for its size before anything is expanded."""

from dataclasses import replace
from functools import partial

from orchestrator.base.diagnostics import Code
from orchestrator.manifest import values
from orchestrator.manifest.bare import BareJob, BareList
from orchestrator.manifest.expand import expand
from orchestrator.manifest.findings import Findings
from orchestrator.manifest.job_keys import (
    EXPANDING_KEYS,
    JOB_KEYS,
    MAX_JOBS,
    JobDefaults,
    ManifestJob,
    read_extra,
    read_gate,
    read_id,
    read_labels,
    read_takes,
    written_id,
)
from orchestrator.manifest.job_list import JobList
from orchestrator.manifest.job_template import JobTemplate, read_template
from orchestrator.manifest.nodes import Entry, Mapping, Node, Sequence, native
from orchestrator.manifest.patterns import Patterns, form_of_job, plain_pictures
from orchestrator.manifest.setting import Setting

_NOWHERE = Mapping({}, 1, 1)


def read_jobs(node: Node, defaults: JobDefaults, setting: Setting, jobs: JobList, findings: Findings) -> None:
    """Adds every concrete job of the list. Those that cannot be expanded are reported and left out."""
    if not isinstance(node, Sequence) or not node.items:
        message = f"`jobs` must be a list with at least one job, it is {values.describe(node)}"
        findings.error(Code.INVALID_VALUE, node, message, "jobs")
        return
    templates = [_template(item, setting, findings) for item in node.items]
    count = sum(template.count for template in templates if template)
    if not _is_count_allowed(len(jobs.jobs) + count, node, findings):
        return
    patterns = Patterns(jobs, partial(_read_again, node.items, defaults, findings))
    for at, template in enumerate(templates):
        if template is not None and _is_expanded(template.node, setting):
            expand(template, setting, defaults, jobs, findings)
        elif template is not None:
            _add_plain(template.node, at, defaults, setting, patterns, jobs, findings)
    _is_count_allowed(len(jobs.jobs), node, findings)


def read_bare_jobs(found: BareList, defaults: JobDefaults, setting: Setting, jobs: JobList, findings: Findings) -> None:
    """Adds the jobs of a bare list."""
    patterns = Patterns(jobs, partial(_read_bare_again, found, defaults, findings.file))
    for row in found.rows():
        labels = _labels(row.labels, defaults)
        form = None if labels is None else row.form
        if patterns.add_repeat(
            form, row.number, row.id, row.prompt, labels or {}, row.columns, row.place, row.pictures
        ):
            continue
        bare = found.read(row.number)
        if not _is_count_allowed(len(jobs.jobs) + 1, bare.node, findings):
            return
        own = _own_findings(bare, findings.file)
        if _is_expanded(bare.node, setting) and not bare.is_cells and not own.errors:
            read_jobs(Sequence([bare.node], bare.node.line, bare.node.column), defaults, setting, jobs, findings)
            continue
        jobs.add(*_bare_job(bare, defaults, jobs.next_ordinal, own), own)
        findings.errors.extend(own.errors)
        if not own.errors:
            patterns.learn(form)


def _add_plain(
    node: Mapping,
    at: int,
    defaults: JobDefaults,
    setting: Setting,
    patterns: Patterns,
    jobs: JobList,
    findings: Findings,
) -> None:
    data = {name: native(entry.value) for name, entry in node.entries.items()}
    pictures = plain_pictures(node.entries, setting.fields)
    form = form_of_job(data, pictures) if "id" in data else None
    labels = _labels(node.entries.get("labels"), defaults)
    texts = (data.get("id", ""), data.get("prompt"))
    if form and labels is not None and patterns.add_repeat(form, at, *texts, labels, pictures=pictures):
        return
    own = findings.for_job(written_id(node.entries.get("id")))
    errors_before = len(own.errors)
    takes = read_takes(node.entries.get("takes"), own)
    jobs.add(_plain_job(node, defaults, jobs.next_ordinal, own), takes, own)
    if len(own.errors) == errors_before:
        patterns.learn(form)


def _labels(entry: Entry | None, defaults: JobDefaults) -> dict[str, str] | None:
    """A job's labels; None where anything is wrong with them."""
    if entry is None:
        return defaults.labels
    own = Findings("")
    labels = read_labels(entry, defaults.labels, _NOWHERE, own)
    return None if own.errors else labels


def _read_again(items: list[Node], defaults: JobDefaults, findings: Findings, at: int, ordinal: int) -> ManifestJob:
    node = items[at]
    assert isinstance(node, Mapping)
    return _plain_job(node, defaults, ordinal, Findings(findings.file, origin=findings.origin))


def _read_bare_again(found: BareList, defaults: JobDefaults, file: str, number: int, ordinal: int) -> ManifestJob:
    bare = found.read(number)
    job, _ = _bare_job(bare, defaults, ordinal, _own_findings(bare, file))
    return job


def _own_findings(bare: BareJob, file: str) -> Findings:
    return Findings(file, written_id(bare.node.entries.get("id")), bare.findings.errors, origin=bare.origin)


def _bare_job(bare: BareJob, defaults: JobDefaults, ordinal: int, own: Findings) -> tuple[ManifestJob, int | None]:
    """The job of a row, and how many takes of it there are to be."""
    is_broken = bool(own.errors)
    quiet = Findings(own.file) if is_broken else own
    job = _plain_job(bare.node, defaults, ordinal, quiet)
    takes = read_takes(bare.node.entries.get("takes"), quiet)
    job = replace(
        job,
        row=bare.row,
        of_row=None,
        faults=tuple(own.errors),
        is_broken=is_broken,
        origin=bare.origin,
    )
    return job, takes


def _is_count_allowed(count: int, node: Node, findings: Findings) -> bool:
    if count <= MAX_JOBS:
        return True
    message = f"`jobs` makes {count:,} jobs; at most {MAX_JOBS:,} are allowed"
    findings.error(Code.INVALID_VALUE, node, message, "jobs")
    return False


def _template(node: Node, setting: Setting, findings: Findings) -> JobTemplate | None:
    if isinstance(node, Mapping):
        return read_template(node, setting, findings)
    message = f"a job must be a mapping, it is {values.describe(node)}"
    findings.error(Code.INVALID_VALUE, node, message, "jobs")
    return None


def _is_expanded(node: Mapping, setting: Setting) -> bool:
    """Whether `{{ }}` is interpreted in a job."""
    return setting.variables is not None or any(name in node.entries for name in EXPANDING_KEYS)


def _plain_job(node: Mapping, defaults: JobDefaults, ordinal: int, findings: Findings) -> ManifestJob:
    """A job as it stands; `{{ }}` is text in it."""
    entries = node.entries
    return ManifestJob(
        ordinal=ordinal,
        id=read_id(entries.get("id"), node, findings),
        node=node,
        labels=read_labels(entries.get("labels"), defaults.labels, node, findings),
        extra=defaults.extra | read_extra(entries.get("extra"), findings),
        fields={name: entry for name, entry in entries.items() if name not in JOB_KEYS},
        has_gate=read_gate(entries.get("gate"), findings),
        origin=findings.origin,
    )
