"""JSONL: a JSON object on each line, empty lines aside."""

from collections.abc import Iterator
from typing import NamedTuple

from orchestrator.base.diagnostics import Code
from orchestrator.manifest import values
from orchestrator.manifest.findings import Findings
from orchestrator.manifest.json_reader import read_json
from orchestrator.manifest.nodes import Mapping, Scalar
from orchestrator.manifest.syntax import SyntaxFault
from orchestrator.manifest.table_text import ESCAPED, byte_of


class Line(NamedTuple):
    """One object with its 1-based line; None where the line cannot be read, which `findings` say."""

    number: int
    node: Mapping | None
    findings: Findings


def read_json_lines(text: str, file: str) -> Iterator[Line]:
    """Every line that is not empty, with findings of its own."""
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), start=1):
        if line.strip():
            findings = Findings(file)
            yield Line(number, _object(number, line, findings), findings)


def _object(number: int, line: str, findings: Findings) -> Mapping | None:
    if not line.isascii() and (found := ESCAPED.search(line)):
        place = Scalar(None, number, found.start() + 1)
        findings.error(Code.MANIFEST_UNREADABLE, place, f"the line is not UTF-8 (byte {byte_of(found[0])})")
        return None
    try:
        node = read_json(line, findings, first_line=number)
    except SyntaxFault as fault:
        findings.error(Code.YAML_SYNTAX, Scalar(None, fault.line, fault.column), fault.message)
        return None
    if isinstance(node, Mapping):
        return node
    findings.error(Code.INVALID_VALUE, node, f"each line must be a JSON object, it is {values.describe(node)}")
    return None
