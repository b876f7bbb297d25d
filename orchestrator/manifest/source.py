"""Reads a manifest file into nodes: encodings, YAML or JSON."""

from contextlib import suppress
from pathlib import Path

from orchestrator.base.diagnostics import Code
from orchestrator.manifest.files import MAX_BYTES, Remote, SourceFault, Sources, uri_of
from orchestrator.manifest.findings import Findings
from orchestrator.manifest.json_reader import read_json
from orchestrator.manifest.nodes import Node, Scalar
from orchestrator.manifest.syntax import SyntaxFault
from orchestrator.manifest.yaml_reader import read_yaml

_START = Scalar(None, 1, 1)
_UTF8_BOM = b"\xef\xbb\xbf"
_WIDE_BOMS = (b"\xff\xfe", b"\xfe\xff")


def read_source(path: Path, findings: Findings, remote: Remote | None = None) -> Node | None:
    """The root node of the manifest at `path`; else as `read_node`."""
    return read_node(uri_of(path), Sources("", remote), findings, "the manifest")


def read_node(name: str, sources: Sources, findings: Findings, what: str) -> Node | None:
    """A YAML or JSON file's root node, or None when it cannot be read at all; every fault goes to `findings`.

    `what` the file is begins their messages.
    """
    try:
        data = sources.read(name, MAX_BYTES)
    except SourceFault as fault:
        findings.error(Code.MANIFEST_UNREADABLE, _START, f"{what} {fault.message}")
        return None
    text = _decoded(data, what, findings)
    if text is None:
        return None
    try:
        return _read_text(name, text, findings)
    except SyntaxFault as fault:
        findings.error(Code.YAML_SYNTAX, Scalar(None, fault.line, fault.column), fault.message)
        return None


def _read_text(name: str, text: str, findings: Findings) -> Node:
    """JSON by its name, or JSON inside: YAML 1.2 takes in all of it but the surrogate pairs of its escapes."""
    if name.lower().endswith(".json"):
        return read_json(text, findings)
    if text.lstrip().startswith("{"):
        trial = Findings(findings.file)
        with suppress(SyntaxFault):
            root = read_json(text, trial)
            findings.errors.extend(trial.errors)
            return root
    return read_yaml(text, findings)


def _decoded(data: bytes, what: str, findings: Findings) -> str | None:
    if data.startswith(_WIDE_BOMS) or b"\0" in data[:4]:
        message = f"{what} is UTF-16, UTF-32 or not text; save it as UTF-8"
        findings.error(Code.MANIFEST_UNREADABLE, _START, message)
        return None
    data = data.removeprefix(_UTF8_BOM)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        before = data[: error.start].decode()
        place = Scalar(None, before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1)
        message = f"{what} is not UTF-8 (byte 0x{data[error.start]:02x}); save it as UTF-8"
        findings.error(Code.MANIFEST_UNREADABLE, place, message)
        return None
