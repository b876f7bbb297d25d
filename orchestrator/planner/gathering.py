"""What was found of all jobs, put together: a template's fault is told once for all rows, a row's for all its takes."""

from collections.abc import Container, Sequence
from dataclasses import dataclass, field, replace

from orchestrator.base.diagnostics import Diagnostic
from orchestrator.manifest.findings import Findings
from orchestrator.manifest.job_keys import ManifestJob
from orchestrator.planner.job import CheckedJob

_Key = tuple[object, ...]


def gather(checked: Sequence[CheckedJob], left_out: Container[int], findings: Findings) -> None:
    """Adds what was found of `checked` to `findings`; errors of those that are `left_out` (by ordinal) as warnings."""
    errors, warnings = _Told(findings.errors), _Told(findings.warnings)
    for job in checked:
        for error in job.findings.errors:
            (warnings if job.job.ordinal in left_out else errors).add(error, job.job.in_full())
        for warning in job.findings.warnings:
            warnings.add(warning, job.job.in_full())
    errors.count()
    warnings.count()


@dataclass(slots=True)
class _Told:
    """A list of findings. `places` and `repeats` say where each fault of a template is in it and how often it came."""

    found: list[Diagnostic]
    places: dict[_Key, int] = field(default_factory=dict)
    repeats: dict[_Key, int] = field(default_factory=dict)

    def add(self, diagnostic: Diagnostic, job: ManifestJob) -> None:
        is_of_row = job.blames_row(diagnostic)
        if not job.take and (is_of_row or not job.is_template):
            self.found.append(diagnostic)
            return
        told_for = (job.origin, (job.id or "").rpartition(".")[0]) if is_of_row else None  # takes say the same
        key = (diagnostic.code, diagnostic.line, diagnostic.column, diagnostic.field, told_for)
        if key in self.places:
            self.repeats[key] = self.repeats.get(key, 0) + 1
        else:
            self.places[key] = len(self.found)
            self.found.append(diagnostic)

    def count(self) -> None:
        """Says of each repeated fault how many more jobs have it."""
        for key, number in self.repeats.items():
            first = self.found[self.places[key]]
            more = f"and {number:,} more {'jobs' if number > 1 else 'job'}"
            self.found[self.places[key]] = replace(first, message=f"{first.message} ({more})")
