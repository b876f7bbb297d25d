"""`include`: files with variables, labels, defaults and jobs, as if they were written before the manifest's own.

An included file is a fragment of a manifest, or a bare list of jobs. Names in it are relative to the manifest, as
everywhere. What is wrong in it is reported at its name in the manifest, with its own line in the message.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from orchestrator.base.diagnostics import Code, Diagnostic
from orchestrator.manifest import values
from orchestrator.manifest.bare import BareJob, BareList, BareRow, is_bare
from orchestrator.manifest.bare_reader import read_bare
from orchestrator.manifest.findings import Findings
from orchestrator.manifest.nodes import Entry, Mapping, Node, Scalar, Sequence, replaced_at
from orchestrator.manifest.row import Row
from orchestrator.manifest.setting import Setting
from orchestrator.manifest.source import read_node
from orchestrator.manifest.suggest import did_you_mean

MERGED_KEYS = ("vars", "labels", "defaults")
FRAGMENT_KEYS = ("version", *MERGED_KEYS, "jobs")
_MAX_FILES = 1000


@dataclass(frozen=True, slots=True)
class Included:
    """One file: its `jobs` as written or as a `bare` list, and its other entries. All places are the include's."""

    name: str
    place: Scalar
    entries: dict[str, Entry] = field(default_factory=dict)
    jobs: tuple[tuple[int, Node], ...] = ()
    bare: BareList | None = None


def read_includes(entry: Entry | None, setting: Setting, findings: Findings) -> list[Included]:
    """The files that can be used, in their order."""
    if entry is None:
        return []
    nodes = entry.value.items if isinstance(entry.value, Sequence) else [entry.value]
    if len(nodes) > _MAX_FILES:
        message = f"`include` names {len(nodes):,} files; at most {_MAX_FILES:,} are allowed"
        findings.error(Code.INVALID_VALUE, entry.value, message, "include")
        return []
    found = [_read(node, setting, findings) for node in nodes]
    return [included for included in found if included is not None]


def merged(name: str, own: Entry | None, files: list[Included], findings: Findings) -> Entry | None:
    """One mapping of the files' and the manifest's own, which goes before theirs."""
    given = [entry for entry in (*(file.entries.get(name) for file in files), own) if entry]
    mappings = [node for entry in given if (node := values.mapping(entry.value, name, findings))]
    if not given or len(mappings) < len(given):
        return None
    entries = {key: entry for node in mappings for key, entry in node.entries.items()}
    return Entry(given[-1].key, Mapping(entries, given[-1].value.line, given[-1].value.column))


def _read(node: Node, setting: Setting, findings: Findings) -> Included | None:
    name = values.text(node, "include", findings)
    if name is None or not isinstance(node, Scalar):
        return None
    inner = Findings(findings.file)
    if is_bare(name):
        bare = read_bare(name, setting.sources, setting.fields, inner)
        included: Included | None = Included(name, node, bare=None if bare is None else _IncludedList(bare, name, node))
    else:
        root = read_node(name, setting.sources, inner, "the file")
        included = None if root is None else _fragment(name, node, root, inner)
    findings.errors.extend(_at(node, name, error) for error in inner.errors)
    findings.warnings.extend(_at(node, name, warning) for warning in inner.warnings)
    return included


def _fragment(name: str, place: Scalar, root: Node, findings: Findings) -> Included | None:
    if isinstance(root, Sequence):
        root = Mapping({"jobs": Entry(Scalar("jobs", root.line, root.column), root)}, root.line, root.column)
    if not isinstance(root, Mapping):
        message = f"an included file must be a mapping or a list of jobs, it is {values.describe(root)}"
        findings.error(Code.INVALID_VALUE, root, message)
        return None
    for key, entry in root.entries.items():
        if key not in FRAGMENT_KEYS and not key.startswith("x-"):
            message = f"an included file has no key `{values.shorten(key)}`{did_you_mean(key, FRAGMENT_KEYS)}"
            findings.error(Code.UNKNOWN_FIELD, entry.key, message, key)
    at = (place.line, place.column)
    entries = {
        key: Entry(Scalar(key, *at), replaced_at(root.entries[key].value, at))
        for key in MERGED_KEYS
        if key in root.entries
    }
    return Included(name, place, entries, tuple(_jobs(root.entries.get("jobs"), place, findings)))


def _jobs(entry: Entry | None, place: Scalar, findings: Findings) -> Iterator[tuple[int, Node]]:
    """Each job with the line that it begins on in its own file."""
    if entry is None:
        return
    if not isinstance(entry.value, Sequence):
        message = f"`jobs` must be a list, it is {values.describe(entry.value)}"
        findings.error(Code.INVALID_VALUE, entry.value, message, "jobs")
        return
    for item in entry.value.items:
        yield item.line, replaced_at(item, (place.line, place.column))


@dataclass(frozen=True, slots=True)
class _IncludedList:
    """A bare list, all of it at the place that includes it."""

    found: BareList
    name: str
    place: Scalar

    def rows(self) -> Iterator[BareRow]:
        """As those of the file."""
        return (row._replace(place=self._within(row.place)) for row in self.found.rows())

    def read(self, number: int) -> BareJob:
        """As in the file."""
        job = self.found.read(number)
        own = Findings(job.findings.file, job.findings.job)
        own.errors = [_at(self.place, self.name, error) for error in job.findings.errors]
        node = replaced_at(job.node, (self.place.line, self.place.column))
        assert isinstance(node, Mapping)
        origin = self._within(job.row.place)
        return job._replace(node=node, row=Row(job.row.columns, origin), findings=own, origin=origin)

    def _within(self, place: str) -> str:
        return f"{self.name}, {place}"


def _at(place: Scalar, name: str, found: Diagnostic) -> Diagnostic:
    """What was found in the file, at the place that includes it."""
    message = f"{found.message} ({name}, line {found.line})"
    return Diagnostic(found.code, message, found.file, place.line, place.column, found.job, found.field)
