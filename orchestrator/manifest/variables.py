"""`vars`: values for the `{{ }}` of all jobs."""

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from orchestrator.base.diagnostics import Code
from orchestrator.manifest import values
from orchestrator.manifest.findings import Findings
from orchestrator.manifest.nodes import Entry, fault_of, native, scalars
from orchestrator.manifest.repeat import Job
from orchestrator.manifest.templates import Scope, TemplateFault, is_template, template_of, text_of


def read_variables(entry: Entry | None, findings: Findings) -> dict[str, Any] | None:
    """The variables by name; None where there are none, which leaves `{{ }}` alone."""
    node = values.mapping(entry.value, "vars", findings) if entry else None
    if node is None:
        return None
    for scalar, path in scalars(node, "vars"):
        if fault := fault_of(scalar.value):
            findings.error(Code.INVALID_VALUE, scalar, f"`{path}` {fault}", path)
    return {name: native(each.value) for name, each in node.entries.items()}


def batch_labels(labels: dict[str, str], variables: dict[str, Any] | None, jobs: Iterable[Job]) -> dict[str, str]:
    """The manifest's labels as those of the whole batch: filled in, and without those that differ from job to job."""
    if variables is None and not any(job.is_template for job in jobs):
        return labels
    scope = Scope(variables or {})
    filled = {}
    for name, text in labels.items():
        if not is_template(text):
            filled[name] = text
            continue
        with suppress(TemplateFault):
            filled[name] = text_of(template_of(text).fill(scope))
    return filled
