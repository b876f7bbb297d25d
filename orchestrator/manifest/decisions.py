"""The decisions that a report exports: which results are accepted, rejected, or to be taken anew."""

import re
from dataclasses import dataclass
from pathlib import Path

from orchestrator.base.diagnostics import Code
from orchestrator.base.states import Decision
from orchestrator.manifest import values
from orchestrator.manifest.files import Sources, uri_of
from orchestrator.manifest.findings import Findings
from orchestrator.manifest.nodes import Entry, Mapping, Node, Scalar, Sequence, fault_of
from orchestrator.manifest.source import read_node

LONGEST_NOTE = 2000
_VERSION = 1
_KEYS = ("version", "batch", "decisions")
_ENTRY_KEYS = ("job", "asset_sha256", "decision", "note")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Decided:
    """One decision. `asset_sha256` is the hash of the job's first file as it was shown, "" where it had none."""

    job: str
    asset_sha256: str
    decision: Decision
    note: str | None
    node: Mapping

    def place(self, key: str) -> Node:
        """Where the value of a key stands; the decision itself where it has no such key."""
        entry = self.node.entries.get(key)
        return self.node if entry is None else entry.value


@dataclass(frozen=True, slots=True)
class Decisions:
    """What was decided about the jobs of one batch; `batch_node` is where that is named."""

    batch: str
    batch_node: Node
    decided: tuple[Decided, ...]


def read_decisions(path: Path, findings: Findings) -> Decisions | None:
    """The decisions in a file, less those that are not sound; None where it names no batch. Faults go to `findings`."""
    root = read_node(uri_of(path), Sources(), findings, "the file of decisions")
    if root is None:
        return None
    if not isinstance(root, Mapping):
        findings.error(Code.INVALID_VALUE, root, f"a file of decisions is a mapping, this is {values.describe(root)}")
        return None
    _refuse_unknown(root, _KEYS, findings)
    version = _required(root, "version", findings)
    if version is not None and not (isinstance(version, Scalar) and version.value == _VERSION):
        findings.error(Code.INVALID_VALUE, version, f"`version` must be {_VERSION}", "version")
    batch_node = _required(root, "batch", findings)
    batch = None if batch_node is None else values.text(batch_node, "batch", findings)
    decided = _read_all(_required(root, "decisions", findings), findings)
    return None if batch is None or batch_node is None else Decisions(batch, batch_node, decided)


def _read_all(node: Node | None, findings: Findings) -> tuple[Decided, ...]:
    if node is None:
        return ()
    if not isinstance(node, Sequence):
        message = f"`decisions` must be a list, it is {values.describe(node)}"
        findings.error(Code.INVALID_VALUE, node, message, "decisions")
        return ()
    by_job: dict[str, Decided] = {}
    for item in node.items:
        found = _read_one(item, findings)
        if found is not None and found.job in by_job:
            message = (
                f"`{values.shorten(found.job)}` is decided twice; the first is on line {by_job[found.job].node.line}"
            )
            findings.for_job(found.job).error(Code.DUPLICATE_JOB_ID, found.place("job"), message, "job")
        elif found is not None:
            by_job[found.job] = found
    return tuple(by_job.values())


def _read_one(item: Node, findings: Findings) -> Decided | None:
    if not isinstance(item, Mapping):
        findings.error(Code.INVALID_VALUE, item, f"a decision is a mapping, this is {values.describe(item)}")
        return None
    _refuse_unknown(item, _ENTRY_KEYS, findings)
    job_node, word_node = _required(item, "job", findings), _required(item, "decision", findings)
    job = None if job_node is None else values.text(job_node, "job", findings)
    own = findings.for_job(job)
    decision = None if word_node is None else _decision(word_node, own)
    sha256 = _sha256(item.entries.get("asset_sha256"), own)
    note, is_sound = _note(item.entries.get("note"), own)
    if job is None or decision is None or sha256 is None or not is_sound:
        return None
    return Decided(job, sha256, decision, note, item)


def _decision(node: Node, findings: Findings) -> Decision | None:
    words = [word.value for word in Decision]
    if isinstance(node, Scalar) and node.value in words:
        return Decision(str(node.value))
    message = f"`decision` is {values.describe(node)}; expected one of {', '.join(words)}"
    findings.error(Code.INVALID_VALUE, node, message, "decision")
    return None


def _sha256(entry: Entry | None, findings: Findings) -> str | None:
    """The text "" where there is none; None after reporting what is wrong with it."""
    node = _unless_null(entry)
    if node is None:
        return ""
    if isinstance(node, Scalar) and isinstance(node.value, str) and _SHA256.fullmatch(node.value):
        return node.value
    message = f"`asset_sha256` must be a SHA-256 in 64 hex digits, or null; it is {values.describe(node)}"
    findings.error(Code.INVALID_VALUE, node, message, "asset_sha256")
    return None


def _note(entry: Entry | None, findings: Findings) -> tuple[str | None, bool]:
    """The note, and whether it can be kept."""
    node = _unless_null(entry)
    if node is None:
        return None, True
    if not isinstance(node, Scalar) or not isinstance(node.value, str):
        fault = f"must be text or null, it is {values.describe(node)}"
    elif len(node.value) > LONGEST_NOTE:
        fault = f"is longer than {LONGEST_NOTE} characters"
    else:
        fault = fault_of(node.value) or ""
    if fault:
        findings.error(Code.INVALID_VALUE, node, f"`note` {fault}", "note")
        return None, False
    assert isinstance(node, Scalar)
    return str(node.value).strip() or None, True


def _unless_null(entry: Entry | None) -> Node | None:
    is_null = entry is None or (isinstance(entry.value, Scalar) and entry.value.value is None)
    return None if entry is None or is_null else entry.value


def _required(node: Mapping, key: str, findings: Findings) -> Node | None:
    entry = node.entries.get(key)
    if entry is None:
        findings.error(Code.MISSING_FIELD, node, f"`{key}` is missing", key)
        return None
    return entry.value


def _refuse_unknown(node: Mapping, known: tuple[str, ...], findings: Findings) -> None:
    for name, entry in node.entries.items():
        if name not in known:
            message = f"`{values.shorten(name)}` is not known; expected one of {', '.join(known)}"
            findings.error(Code.UNKNOWN_FIELD, entry.key, message, name)
