"""`jobs`: the list, checked for its size before anything is expanded."""

from orchestrator.base.diagnostics import Code
from orchestrator.manifest import values
from orchestrator.manifest.expand import expand
from orchestrator.manifest.findings import Findings
from orchestrator.manifest.job_keys import (
    EXPANDING_KEYS,
    JOB_KEYS,
    MAX_JOBS,
    JobDefaults,
    JobList,
    ManifestJob,
    read_extra,
    read_gate,
    read_id,
    read_labels,
    read_takes,
    written_id,
)
from orchestrator.manifest.job_template import JobTemplate, read_template
from orchestrator.manifest.nodes import Mapping, Node, Sequence
from orchestrator.manifest.setting import Setting


def read_jobs(node: Node, defaults: JobDefaults, setting: Setting, findings: Findings) -> tuple[ManifestJob, ...]:
    """Every concrete job. Those that cannot be expanded are reported and left out."""
    if not isinstance(node, Sequence) or not node.items:
        message = f"`jobs` must be a list with at least one job, it is {values.describe(node)}"
        findings.error(Code.INVALID_VALUE, node, message, "jobs")
        return ()
    templates = [_template(item, setting, findings) for item in node.items]
    count = sum(template.count for template in templates if template)
    if count > MAX_JOBS:
        message = f"`jobs` makes {count:,} jobs; at most {MAX_JOBS:,} are allowed"
        findings.error(Code.INVALID_VALUE, node, message, "jobs")
        return ()
    jobs = JobList()
    for template in templates:
        if template is not None and _is_expanded(template.node, setting):
            expand(template, setting, defaults, jobs, findings)
        elif template is not None:
            _add_plain(template.node, defaults, jobs, findings)
    if len(jobs.jobs) > MAX_JOBS:
        message = f"with its `takes`, `jobs` makes {len(jobs.jobs):,} jobs; at most {MAX_JOBS:,} are allowed"
        findings.error(Code.INVALID_VALUE, node, message, "jobs")
    elif not jobs.jobs and not findings.errors:
        findings.error(Code.INVALID_VALUE, node, "`jobs` makes no job at all", "jobs")
    return tuple(jobs.jobs)


def _template(node: Node, setting: Setting, findings: Findings) -> JobTemplate | None:
    if isinstance(node, Mapping):
        return read_template(node, setting, findings)
    message = f"a job must be a mapping, it is {values.describe(node)}"
    findings.error(Code.INVALID_VALUE, node, message, "jobs")
    return None


def _is_expanded(node: Mapping, setting: Setting) -> bool:
    """Whether `{{ }}` is interpreted in a job."""
    return setting.variables is not None or any(name in node.entries for name in EXPANDING_KEYS)


def _add_plain(node: Mapping, defaults: JobDefaults, jobs: JobList, findings: Findings) -> None:
    """A job as it stands; `{{ }}` is text in it."""
    entries = node.entries
    own = findings.for_job(written_id(entries.get("id")))
    extra = entries.get("extra")
    job = ManifestJob(
        ordinal=0,
        id=read_id(entries.get("id"), node, own),
        node=node,
        labels=read_labels(entries.get("labels"), defaults.labels, node, own),
        extra=defaults.extra | read_extra(extra, own),
        fields={name: entry for name, entry in entries.items() if name not in JOB_KEYS},
        has_gate=read_gate(entries.get("gate"), own),
    )
    jobs.add(job, read_takes(entries.get("takes"), own), own)
