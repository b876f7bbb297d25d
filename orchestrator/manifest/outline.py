"""What of a row makes a difference to its job: enough to tell whether that repeats another one."""

from collections.abc import Hashable, Iterable, Iterator, Mapping
from itertools import repeat

from orchestrator.manifest import values
from orchestrator.manifest.compiled_job import CompiledJob
from orchestrator.manifest.filling import Fill, ScalarFill
from orchestrator.manifest.findings import Findings
from orchestrator.manifest.nodes import Entry, Node, scalars
from orchestrator.manifest.patterns import NO_PICTURES, OWN_KEYS, form_of, form_of_pictures, is_plain, plain_pictures
from orchestrator.manifest.provider_fields import ProviderFields
from orchestrator.manifest.templates import Scope, TemplateFault, is_template, template_of

_ABSENT = object()


Outlined = tuple[Hashable, str, str | None, dict[str, str], Mapping[str, Node]]
"""The form, the id, the prompt, the labels and the pictures of a row's job; see `Patterns`.

The forms of rows are the same where the variables are that all templates but those of these texts use.
"""


class Outline:
    """Of a job whose id and prompt are filled in without being looked at."""

    def __init__(
        self, compiled: CompiledJob, job_id: ScalarFill, prompt: ScalarFill | None, fields: ProviderFields
    ) -> None:
        self._compiled = compiled
        self._id = job_id
        self._prompt = prompt
        fills = {name: fill for name, fill in compiled.fills.items() if name in fields.pictures}
        self._pictures = [(name, compiled.entries[name], fill) for name, fill in fills.items()]
        self._fields = fields
        self._names = _names(entry for name, entry in _filled(compiled) if name not in (*OWN_KEYS, *fills))
        self._labels: Fill | None = compiled.fills.get("labels")

    def of(self, scope: Scope) -> Outlined | None:
        """What a row comes to; None where it is not plainly good."""
        try:
            job_id = self._id.value(scope)
            prompt = None if self._prompt is None else self._prompt.value(scope)
        except TemplateFault:
            return None
        labels = self._compiled.labels if self._labels is None else self._labels_of(self._labels, scope)
        if labels is None or not is_plain(job_id) or not (prompt is None or is_plain(prompt)):
            return None
        pictures = self._pictures_of(scope) if self._pictures else NO_PICTURES
        if pictures is None:
            return None
        used = tuple(map(scope.variables.get, self._names, repeat(_ABSENT)))
        form = (form_of(used), form_of_pictures(pictures)) if pictures else form_of(used)
        return form, job_id, prompt, labels, pictures

    def _pictures_of(self, scope: Scope) -> Mapping[str, Node] | None:
        own = Findings("")
        nodes = ((name, entry, fill(scope, own)) for name, entry, fill in self._pictures)
        filled = {name: entry._replace(value=node) for name, entry, node in nodes if node is not None}
        pictures = plain_pictures(filled, self._fields)
        return pictures if len(pictures) == len(self._pictures) else None

    def _labels_of(self, fill: Fill, scope: Scope) -> dict[str, str] | None:
        own = Findings("")
        node = fill(scope, own)
        labels = values.labels(self._compiled.entries["labels"]._replace(value=node), own) if node else {}
        return None if own.errors else labels


def outline_of(compiled: CompiledJob, fields: ProviderFields) -> Outline | None:
    """The outline; None of a job whose rows all have to be read in full."""
    fills = compiled.fills | compiled.default_fills
    job_id, prompt = fills.get("id"), fills.get("prompt")
    is_filled_twice = any(value.fill for found in compiled.matrix.values() for value in found)
    if is_filled_twice or not isinstance(job_id, ScalarFill) or not isinstance(prompt, ScalarFill | None):
        return None
    return Outline(compiled, job_id, prompt, fields)


def _filled(compiled: CompiledJob) -> Iterator[tuple[str, Entry]]:
    """All that has templates in it."""
    yield from ((name, compiled.entries[name]) for name in compiled.fills)
    yield from ((name, compiled.defaults[name]) for name in compiled.default_fills)


def _names(entries: Iterable[Entry]) -> tuple[str, ...]:
    """The variables that the templates in these values use."""
    texts = {scalar.value for entry in entries for scalar, _ in scalars(entry.value, "") if is_template(scalar.value)}
    return tuple(sorted({name for text in texts for name in template_of(str(text)).names}))
