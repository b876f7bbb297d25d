"""A job's own keys: `id`, `labels`, `extra`, `takes`, `gate`; the rest of its fields is the provider's."""

from dataclasses import dataclass, field

from orchestrator.base.diagnostics import Code, Diagnostic
from orchestrator.manifest import values
from orchestrator.manifest.core_schema import resolve
from orchestrator.manifest.findings import Findings
from orchestrator.manifest.nodes import Entry, Mapping, Place, Scalar
from orchestrator.manifest.row import Row as Row

MAX_JOBS = 1_000_000
EXPANDING_KEYS = ("for_each", "where", "matrix")
JOB_KEYS = ("id", *EXPANDING_KEYS, "takes", "labels", "gate", "extra")
GATES = ("manual",)


@dataclass(frozen=True, slots=True)
class ManifestJob:
    """One concrete job. `fields` are the provider's, `extra` goes to the provider unchecked.

    `take` counts from 1 where `takes` is given. `has_gate` is `gate: manual`. `row` is the row of a file or list that
    it was made from. Of a template, `defaults` are the manifest's defaults that have templates, filled in for this
    job, and `filled` the places of all text that was filled in. `of_row` are the places that a row's columns speak
    at; None where everything is the row's. `faults` are what reading it found wrong with the row itself; they are
    reported, too. A job that `is_broken` by them is not to be judged any further: its fields are not there.
    `origin` is the row or the line of another file that it comes from, for messages.
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
    is_template: bool = False
    defaults: dict[str, Entry] = field(default_factory=dict)
    filled: frozenset[Place] = frozenset()
    of_row: frozenset[Place] | None = frozenset()
    faults: tuple[Diagnostic, ...] = ()
    is_broken: bool = False
    origin: str | None = None

    def in_full(self) -> "ManifestJob":
        """Itself; see `Repeat`."""
        return self

    def blames_row(self, error: Diagnostic) -> bool:
        """Whether an error of this job lies in what its own row says, rather than in the manifest or in an outage."""
        if self.row is None or error in self.faults:
            return self.row is not None
        if error.code is Code.MANIFEST_UNREADABLE:
            return False
        return self.of_row is None or (error.line, error.column) in self.of_row


@dataclass(frozen=True, slots=True)
class JobDefaults:
    """`defaults`: what a job that says nothing else gets. `label_entries` are the manifest's and its `labels`."""

    labels: dict[str, str] = field(default_factory=dict)
    extra: dict[str, Entry] = field(default_factory=dict)
    fields: dict[str, Entry] = field(default_factory=dict)
    label_entries: dict[str, Entry] = field(default_factory=dict)


def read_defaults(
    entry: Entry | None, labels: dict[str, str], labels_entry: Entry | None, findings: Findings
) -> JobDefaults:
    """The `defaults` mapping under the manifest's `labels`. Whether its fields exist is the planner's to say."""
    node = values.mapping(entry.value, "defaults", findings) if entry else None
    entries = dict(node.entries) if node else {}
    for name in ("id", *EXPANDING_KEYS, "takes", "gate"):
        if name in entries:
            message = f"`{name}` cannot have a default: each job needs its own"
            findings.error(Code.UNSUPPORTED_FIELD, entries.pop(name).key, message, name)
    own_labels = entries.pop("labels", None)
    merged = labels | values.labels(own_labels, findings)
    nodes = {**entries_of(labels_entry), **entries_of(own_labels)}
    return JobDefaults(merged, read_extra(entries.pop("extra", None), findings), entries, nodes)


def read_id(entry: Entry | None, node: Mapping, findings: Findings) -> str | None:
    """The job's id; None after reporting why it has none."""
    if entry is None:
        findings.error(Code.MISSING_FIELD, node, "a job needs an `id`", "id")
        return None
    job_id = values.text(entry.value, "id", findings)
    if job_id is not None and values.has_control_characters(job_id):
        findings.error(Code.INVALID_VALUE, entry.value, "`id` must not contain control characters", "id")
    return job_id


def written_id(entry: Entry | None) -> str | None:
    """The id that diagnostics name, also when it is a bad one."""
    value = entry.value.value if entry and isinstance(entry.value, Scalar) else None
    return value if isinstance(value, str) else None


def read_takes(entry: Entry | None, findings: Findings) -> int | None:
    """How many results of the job are wanted; None where it does not say, or says it badly (which is reported)."""
    if entry is None:
        return None
    node = entry.value
    if isinstance(node, Scalar) and isinstance(node.value, str):  # from a template or a cell
        node = node._replace(value=resolve(node.value.strip()))
    return values.whole_number(node, "takes", findings, 1, MAX_JOBS)


def read_gate(entry: Entry | None, findings: Findings) -> bool:
    """Whether those that need the job wait for a person. An empty cell is no gate."""
    if entry is None or (isinstance(entry.value, Scalar) and entry.value.value in (None, "")):
        return False
    if isinstance(entry.value, Scalar) and entry.value.value in GATES:
        return True
    message = f"`gate` must be `manual`, it is {values.describe(entry.value)}"
    findings.error(Code.INVALID_VALUE, entry.value, message, "gate")
    return False


def read_labels(entry: Entry | None, inherited: dict[str, str], node: Mapping, findings: Findings) -> dict[str, str]:
    """A job's labels with those that it inherits."""
    own = values.labels(entry, findings)
    merged = inherited | own
    if len(merged) > values.MAX_LABELS >= max(len(own), len(inherited)):
        message = f"with the inherited ones the job has {len(merged)} labels; at most {values.MAX_LABELS}"
        findings.error(Code.INVALID_VALUE, entry.value if entry else node, message, "labels")
    return merged


def read_extra(entry: Entry | None, findings: Findings) -> dict[str, Entry]:
    """What goes to the provider unchecked."""
    node = values.mapping(entry.value, "extra", findings) if entry else None
    return node.entries if node else {}


def entries_of(entry: Entry | None) -> dict[str, Entry]:
    """The entries of a value that is a mapping; none of another."""
    return entry.value.entries if entry and isinstance(entry.value, Mapping) else {}
