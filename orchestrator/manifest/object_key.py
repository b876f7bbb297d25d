"""The `key` template: how the objects of a batch are named."""

import re

from orchestrator.base.diagnostics import Code
from orchestrator.manifest import values
from orchestrator.manifest.findings import Findings
from orchestrator.manifest.nodes import Entry
from orchestrator.manifest.suggest import did_you_mean

DEFAULT_KEY = "{name}/{job}/{index}-{sha8}{ext}"
_FIELDS = ("name", "job", "index", "sha8", "ext", "batch", "date")
_FIELD = re.compile(r"\{([^{}]*)\}")
_LABEL = re.compile(r"label\.[^{}]+")


def read_key(entry: Entry | None, findings: Findings) -> str:
    """The template, or the default one; a template that two assets could meet under is refused."""
    template = values.text(entry.value, "key", findings) if entry else DEFAULT_KEY
    if entry is None or template is None:
        return DEFAULT_KEY
    if fault := _fault(template):
        findings.error(Code.INVALID_VALUE, entry.value, f"`key` {fault}", "key")
        return DEFAULT_KEY
    return template


def label_names(template: str) -> list[str]:
    """The labels that a template needs, `x` for `{label.x}`."""
    names = _FIELD.findall(template)
    return [name.removeprefix("label.") for name in names if name.startswith("label.")]


def _fault(template: str) -> str | None:
    names = _FIELD.findall(template)
    for name in names:
        if name not in _FIELDS and not _LABEL.fullmatch(name):
            offered = ", ".join(f"{{{field}}}" for field in (*_FIELDS, "label.x"))
            return f"has no field {{{name}}}; expected one of {offered}{did_you_mean(name, _FIELDS)}"
    literal = _FIELD.sub("x", template)
    if "{" in literal or "}" in literal:
        return "has a brace that belongs to no {field}"
    if values.has_control_characters(literal):
        return "must not contain control characters"
    if any(part in ("", ".", "..") for part in literal.split("/")):
        return "must be a relative path without empty, `.` or `..` parts"
    if "sha8" not in names and "job" not in names:
        return "gives different results the same name; add {job} or {sha8}"
    return None
