"""Another job's result as a medium: `{from: job, use: original | final_frame}`."""

from dataclasses import dataclass
from typing import Literal, TypeGuard

from orchestrator.base.diagnostics import Code
from orchestrator.manifest import values
from orchestrator.manifest.findings import Findings
from orchestrator.manifest.nodes import Mapping, Node, Scalar
from orchestrator.manifest.suggest import did_you_mean
from orchestrator.planner.media import MediaKind

Use = Literal["original", "final_frame"]
_USES: dict[str, Use] = {"original": "original", "final_frame": "final_frame"}
_KEYS = ("from", "use")


@dataclass(frozen=True, slots=True)
class Reference:
    """The result of `job` that stands at `path`. `name` is the node that names the job, `use_place` that of `use`."""

    job: str
    use: Use
    path: str
    name: Node
    use_place: Node

    @property
    def value(self) -> dict[str, str]:
        """What stands in the item for it."""
        return {"$from": self.job, "use": self.use}


def is_reference(node: Node) -> TypeGuard[Mapping]:
    """Whether a media value is meant as another job's result."""
    return isinstance(node, Mapping) and "from" in node.entries


def read_reference(node: Mapping, path: str, kind: MediaKind, findings: Findings) -> Reference | None:
    """The reference that `node` is, or None after a report of what is wrong with it."""
    for name, entry in node.entries.items():
        if name not in _KEYS:
            message = f"`from` goes with `use` only, not with `{values.shorten(name)}`{did_you_mean(name, _KEYS)}"
            findings.error(Code.UNKNOWN_FIELD, entry.key, message, f"{path}.{name}")
    needed = node.entries["from"].value
    job = values.text(needed, f"{path}.from", findings)
    use = _use(node, f"{path}.use", findings)
    if kind == "audio":
        message = "audio cannot come `from` another job: no job makes any"
        findings.error(Code.INVALID_VALUE, needed, message, path)
    elif job is not None and use is not None:
        return Reference(job, use, path, needed, node.entries["use"].value if "use" in node.entries else needed)
    return None


def _use(node: Mapping, path: str, findings: Findings) -> Use | None:
    entry = node.entries.get("use")
    if entry is None:
        return "original"
    written = entry.value.value if isinstance(entry.value, Scalar) else None
    if isinstance(written, str) and written in _USES:
        return _USES[written]
    hint = did_you_mean(written, _USES) if isinstance(written, str) else ""
    message = f"`use` must be original or final_frame, it is {values.describe(entry.value)}{hint}"
    findings.error(Code.INVALID_VALUE, entry.value, message, path)
    return None
