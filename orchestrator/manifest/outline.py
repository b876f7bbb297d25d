"""What of a row makes a difference to its job: enough to tell whether that repeats another one."""

from collections.abc import Hashable, Iterable, Iterator
from itertools import repeat

from orchestrator.manifest import values
from orchestrator.manifest.compiled_job import CompiledJob
from orchestrator.manifest.filling import Fill, ScalarFill
from orchestrator.manifest.findings import Findings
from orchestrator.manifest.nodes import Entry, scalars
from orchestrator.manifest.patterns import form_of, is_plain
from orchestrator.manifest.templates import Scope, TemplateFault, is_template, template_of

_ABSENT = object()


Outlined = tuple[Hashable, str, str | None, dict[str, str]]
"""The form, the id, the prompt and the labels of a row's job; see `Patterns`.

The forms of rows are the same where the variables are that all templates but those of these texts use.
"""


class Outline:
    """Of a job whose id and prompt are filled in without being looked at."""

    def __init__(self, compiled: CompiledJob, job_id: ScalarFill, prompt: ScalarFill | None) -> None:
        self._compiled = compiled
        self._id = job_id
        self._prompt = prompt
        self._names = _names(entry for name, entry in _filled(compiled) if name not in ("id", "prompt", "labels"))
        self._labels: Fill | None = compiled.fills.get("labels")

    def of(self, scope: Scope) -> Outlined | None:
        """What a row comes to; None where it is not plainly good."""
        try:
            job_id = self._id.value(scope)
            prompt = None if self._prompt is None else self._prompt.value(scope)
        except TemplateFault:
            return None
        labels = self._labels_of(scope)
        if labels is None or not is_plain(job_id) or not (prompt is None or is_plain(prompt)):
            return None
        used = tuple(map(scope.variables.get, self._names, repeat(_ABSENT)))
        return form_of(used), job_id, prompt, labels

    def _labels_of(self, scope: Scope) -> dict[str, str] | None:
        if self._labels is None:
            return self._compiled.labels
        own = Findings("")
        node = self._labels(scope, own)
        labels = values.labels(self._compiled.entries["labels"]._replace(value=node), own) if node else {}
        return None if own.errors else labels


def outline_of(compiled: CompiledJob) -> Outline | None:
    """The outline; None of a job whose rows all have to be read in full."""
    fills = compiled.fills | compiled.default_fills
    job_id, prompt = fills.get("id"), fills.get("prompt")
    is_filled_twice = any(value.fill for found in compiled.matrix.values() for value in found)
    if is_filled_twice or not isinstance(job_id, ScalarFill) or not isinstance(prompt, ScalarFill | None):
        return None
    return Outline(compiled, job_id, prompt)


def _filled(compiled: CompiledJob) -> Iterator[tuple[str, Entry]]:
    """All that has templates in it."""
    yield from ((name, compiled.entries[name]) for name in compiled.fills)
    yield from ((name, compiled.defaults[name]) for name in compiled.default_fills)


def _names(entries: Iterable[Entry]) -> tuple[str, ...]:
    """The variables that the templates in these values use."""
    texts = {scalar.value for entry in entries for scalar, _ in scalars(entry.value, "") if is_template(scalar.value)}
    return tuple(sorted({name for text in texts for name in template_of(str(text)).names}))
