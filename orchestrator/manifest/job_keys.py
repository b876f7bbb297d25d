"""A job's own keys: `id`, `labels`, `extra`; the rest of its fields is the provider's."""

from dataclasses import dataclass
from typing import Any

from orchestrator.base.diagnostics import Code
from orchestrator.manifest import values
from orchestrator.manifest.findings import Findings
from orchestrator.manifest.nodes import Entry, Mapping, Node, Scalar, Sequence

MAX_JOBS = 1_000_000
MAX_ID_CHARACTERS = 200
JOB_KEYS = ("id", "labels", "extra")
LATER_JOB_KEYS = ("for_each", "where", "matrix", "takes", "gate")
_EXPANDING = frozenset({"for_each", "matrix"})


@dataclass(frozen=True, slots=True)
class Row:
    """One row that a job is made from: its columns, and where it stands (`products.csv, row 12`)."""

    columns: dict[str, Any]
    place: str


@dataclass(frozen=True, slots=True)
class ManifestJob:
    """One concrete job. `fields` are the provider's, `extra` goes to the provider unchecked.

    `take` counts from 1 where `takes` is given. `has_gate` is `gate: manual`. `row` is the row of a file or list that
    it was made from.
    """

    ordinal: int
    id: str | None
    node: Mapping
    labels: dict[str, str]
    extra: dict[str, Entry]
    fields: dict[str, Entry]
    take: int | None = None
    has_gate: bool = False
    row: Row | None = None


@dataclass(frozen=True, slots=True)
class JobDefaults:
    """`defaults`: what a job that says nothing else gets."""

    labels: dict[str, str]
    extra: dict[str, Entry]
    fields: dict[str, Entry]


def read_defaults(entry: Entry | None, labels: dict[str, str], findings: Findings) -> JobDefaults:
    """The `defaults` mapping under the manifest's `labels`. Whether its fields exist is the planner's to say."""
    node = values.mapping(entry.value, "defaults", findings) if entry else None
    entries = dict(node.entries) if node else {}
    if "id" in entries:
        message = "`id` cannot have a default: each job needs its own"
        findings.error(Code.UNSUPPORTED_FIELD, entries.pop("id").key, message, "id")
    refuse_later(entries, LATER_JOB_KEYS, findings)
    labels = labels | values.labels(entries.pop("labels", None), findings)
    return JobDefaults(labels, _extra(entries.pop("extra", None), findings), entries)


def read_jobs(node: Node, defaults: JobDefaults, findings: Findings) -> tuple[ManifestJob, ...]:
    """Every job that is a mapping; those that a later release would expand are refused and left out."""
    if not isinstance(node, Sequence) or not node.items:
        message = f"`jobs` must be a list with at least one job, it is {values.describe(node)}"
        findings.error(Code.INVALID_VALUE, node, message, "jobs")
        return ()
    if len(node.items) > MAX_JOBS:
        message = f"`jobs` has {len(node.items):,} jobs; at most {MAX_JOBS:,} are allowed"
        findings.error(Code.INVALID_VALUE, node, message, "jobs")
        return ()
    first_lines: dict[str, int] = {}
    jobs = (_job(ordinal, item, defaults, first_lines, findings) for ordinal, item in enumerate(node.items))
    return tuple(job for job in jobs if job is not None)


def refuse_later(entries: dict[str, Entry], names: tuple[str, ...], findings: Findings) -> None:
    """Takes out the keys that a later release will have, and refuses each at its place."""
    for name in names:
        if name in entries:
            message = f"`{name}` is not available in this release"
            findings.error(Code.UNSUPPORTED_FIELD, entries.pop(name).key, message, name)


def _job(
    ordinal: int, node: Node, defaults: JobDefaults, first_lines: dict[str, int], findings: Findings
) -> ManifestJob | None:
    if not isinstance(node, Mapping):
        message = f"a job must be a mapping, it is {values.describe(node)}"
        findings.error(Code.INVALID_VALUE, node, message, "jobs")
        return None
    entries = dict(node.entries)
    expands = not _EXPANDING.isdisjoint(entries)
    id_entry = entries.pop("id", None)
    job_findings = findings.for_job(_written_id(id_entry))
    refuse_later(entries, LATER_JOB_KEYS, job_findings)
    if expands:
        return None
    job_id = _id(id_entry, node, first_lines, job_findings)
    labels = _labels(entries.pop("labels", None), defaults.labels, node, job_findings)
    extra = defaults.extra | _extra(entries.pop("extra", None), job_findings)
    return ManifestJob(ordinal, job_id, node, labels, extra, entries)


def _written_id(entry: Entry | None) -> str | None:
    """The id that diagnostics name, also when it is a bad one."""
    value = entry.value.value if entry and isinstance(entry.value, Scalar) else None
    return value if isinstance(value, str) else None


def _id(entry: Entry | None, node: Mapping, first_lines: dict[str, int], findings: Findings) -> str | None:
    if entry is None:
        findings.error(Code.MISSING_FIELD, node, "a job needs an `id`", "id")
        return None
    job_id = values.text(entry.value, "id", findings)
    if job_id is None:
        return None
    if len(job_id) > MAX_ID_CHARACTERS:
        message = f"`id` has {len(job_id)} characters; at most {MAX_ID_CHARACTERS} are allowed"
        findings.error(Code.INVALID_VALUE, entry.value, message, "id")
    elif values.has_control_characters(job_id):
        findings.error(Code.INVALID_VALUE, entry.value, "`id` must not contain control characters", "id")
    elif job_id in first_lines:
        message = f"`{values.shorten(job_id)}` is already the id of the job on line {first_lines[job_id]}"
        findings.error(Code.DUPLICATE_JOB_ID, entry.value, message, "id")
    first_lines.setdefault(job_id, entry.value.line)
    return job_id


def _labels(entry: Entry | None, inherited: dict[str, str], node: Mapping, findings: Findings) -> dict[str, str]:
    own = values.labels(entry, findings)
    merged = inherited | own
    if len(merged) > values.MAX_LABELS >= max(len(own), len(inherited)):
        message = f"with the inherited ones the job has {len(merged)} labels; at most {values.MAX_LABELS}"
        findings.error(Code.INVALID_VALUE, entry.value if entry else node, message, "labels")
    return merged


def _extra(entry: Entry | None, findings: Findings) -> dict[str, Entry]:
    node = values.mapping(entry.value, "extra", findings) if entry else None
    return node.entries if node else {}
