"""Collects what is wrong with a manifest; nothing stops at the first fault."""

from dataclasses import dataclass, field

from orchestrator.base.diagnostics import Code, Diagnostic
from orchestrator.manifest.nodes import Node
from orchestrator.manifest.row import Row


@dataclass(slots=True)
class Findings:
    """The errors and warnings of one file, or of one job of it (`for_job` shares the lists).

    `row` is the place of the row that the job is made from; every message ends with it.
    """

    file: str
    job: str | None = None
    errors: list[Diagnostic] = field(default_factory=list)
    warnings: list[Diagnostic] = field(default_factory=list)
    row: str | None = None

    def for_job(self, job: str | None, row: Row | None = None) -> "Findings":
        """The same lists, with every new finding put down to `job`, and to the row that it is made from."""
        return Findings(self.file, job, self.errors, self.warnings, row.place if row else None)

    def error(self, code: Code, place: Node, message: str, field: str | None = None) -> None:
        self.errors.append(self._diagnostic(code, place, message, field))

    def warn(self, code: Code, place: Node, message: str, field: str | None = None) -> None:
        self.warnings.append(self._diagnostic(code, place, message, field))

    def _diagnostic(self, code: Code, place: Node, message: str, field: str | None) -> Diagnostic:
        message = f"{message} ({self.row})" if self.row else message
        return Diagnostic(code, message, self.file, place.line, place.column, self.job, field)


def in_order(diagnostics: list[Diagnostic]) -> tuple[Diagnostic, ...]:
    """By place; what is wrong with a value is said once, by the rule that saw it first."""
    once: dict[object, Diagnostic] = {}
    for found in diagnostics:
        once.setdefault((found.code, found.line, found.column, found.job or found.message, found.field), found)
    return tuple(sorted(once.values(), key=Diagnostic.sort_key))
