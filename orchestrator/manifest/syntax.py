"""What the YAML and the JSON reader have in common: limits and faults."""

from orchestrator.base.diagnostics import Code
from orchestrator.manifest.findings import Findings
from orchestrator.manifest.nodes import Entry, Scalar

MAX_DEPTH = 64


class SyntaxFault(Exception):
    """The text cannot be read any further; `line` and `column` are 1-based."""

    def __init__(self, message: str, line: int, column: int) -> None:
        super().__init__(message)
        self.message = message
        self.line = line
        self.column = column


def report_duplicate(findings: Findings, key: Scalar, first: Entry) -> None:
    """A key that its mapping already has; reading goes on with the first one."""
    message = f"`{key.value}` is given twice; the first is on line {first.key.line}"
    findings.error(Code.YAML_SYNTAX, key, message)
