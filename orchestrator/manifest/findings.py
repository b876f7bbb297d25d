"""Collects what is wrong with a manifest; nothing stops at the first fault."""

from dataclasses import dataclass, field

from orchestrator.base.diagnostics import Code, Diagnostic
from orchestrator.manifest.nodes import Node


@dataclass(slots=True)
class Findings:
    """The errors and warnings of one file, or of one job of it (`for_job` shares the lists).

    `origin` is the row that the job is made from (`products.csv, row 12`); every message ends with it.
    """

    file: str
    job: str | None = None
    errors: list[Diagnostic] = field(default_factory=list)
    warnings: list[Diagnostic] = field(default_factory=list)
    origin: str | None = None

    def for_job(self, job: str | None, origin: str | None = None) -> "Findings":
        """The same lists, with every new finding put down to `job`, and to where that comes from."""
        return Findings(self.file, job, self.errors, self.warnings, origin or self.origin)

    def error(self, code: Code, place: Node, message: str, field: str | None = None) -> None:
        self.errors.append(self._diagnostic(code, place, message, field))

    def warn(self, code: Code, place: Node, message: str, field: str | None = None) -> None:
        self.warnings.append(self._diagnostic(code, place, message, field))

    def _diagnostic(self, code: Code, place: Node, message: str, field: str | None) -> Diagnostic:
        message = f"{message} ({self.origin})" if self.origin else message
        return Diagnostic(code, message, self.file, place.line, place.column, self.job, field)


def in_order(diagnostics: list[Diagnostic]) -> tuple[Diagnostic, ...]:
    """By place; what is wrong with a value is said once, by the rule that saw it first."""
    once: dict[object, Diagnostic] = {}
    for found in diagnostics:
        once.setdefault((found.code, found.line, found.column, found.job or found.message, found.field), found)
    return tuple(sorted(once.values(), key=Diagnostic.sort_key))
