"""Which jobs of a list are alike in all but their own texts: the id, the prompt, the labels, the names of pictures.

What can be said of all of them is found out about the first one, their pattern. Of the others only the texts are looked
at: whatever is not plainly good is read, and judged, like any other job.
"""

from collections.abc import Callable, Hashable, Mapping
from typing import Any

from orchestrator.manifest.job_keys import ManifestJob
from orchestrator.manifest.job_list import JobList
from orchestrator.manifest.nodes import Entry, Node, Scalar, Sequence, fault_of
from orchestrator.manifest.provider_fields import ProviderFields
from orchestrator.manifest.repeat import Repeat

OWN_TEXTS = ("id", "prompt")
OWN_KEYS = (*OWN_TEXTS, "labels")
"""The keys that make no difference to any other key."""
NO_PICTURES: Mapping[str, Node] = {}
_MAX_PATTERNS = 10_000
_SIMPLE = frozenset({str, int, bool, type(None)})


class Patterns:
    """The patterns of one list of jobs by their forms. `read` is that of `Repeat`."""

    def __init__(self, jobs: JobList, read: Callable[[int, int], ManifestJob]) -> None:
        self._jobs = jobs
        self._read = read
        self._known: dict[Hashable, ManifestJob] = {}

    def add_repeat(
        self,
        form: Hashable | None,
        at: int,
        job_id: str,
        prompt: str | None,
        labels: dict[str, str],
        columns: dict[str, Any] | None = None,
        place: str | None = None,
        pictures: Mapping[str, Node] = NO_PICTURES,
    ) -> bool:
        """Adds the job to the list if it repeats another one soundly."""
        pattern = self._known.get(form)
        if pattern is None or not job_id.isprintable():
            return False
        ordinal = self._jobs.claim(job_id)
        if ordinal is None:
            return False
        job = Repeat(ordinal, job_id, prompt, labels, pictures, columns, place, at, pattern, self._read)
        self._jobs.jobs.append(job)
        return True

    def learn(self, form: Hashable | None) -> None:
        """The job that was added last is a sound one of this form."""
        job = self._jobs.jobs[-1]
        if form is not None and isinstance(job, ManifestJob) and job.take is None and len(self._known) < _MAX_PATTERNS:
            self._known[form] = job


def form_of_job(data: dict[str, Any], pictures: Mapping[str, Node]) -> Hashable | None:
    """What jobs have in common that are alike in all but their own texts; None where one of these is not plain."""
    for name in OWN_TEXTS:
        if name in data and not is_plain(data[name]):
            return None
    values = tuple([value for name, value in data.items() if name not in OWN_KEYS and name not in pictures])
    return *data, form_of_pictures(pictures), form_of(values)


def plain_pictures(entries: Mapping[str, Entry], fields: ProviderFields) -> dict[str, Node]:
    """The pictures among a job's fields that are plainly named."""
    found = {name: entry.value for name, entry in entries.items() if name in fields.pictures}
    return {name: node for name, node in found.items() if is_plain_picture(node)}


def is_plain_picture(node: Node) -> bool:
    """Whether each text in the value of a picture's field is plain."""
    return _is_plain_text(node) if isinstance(node, Scalar) else all(map(_is_plain_text, _texts(node)))


def form_of_pictures(pictures: Mapping[str, Node]) -> Hashable:
    """Which fields name pictures, and how many of them: the rules look at no more than that."""
    return tuple([(name, type(node), len(_texts(node))) for name, node in pictures.items()])


def _texts(node: Node) -> list[Node]:
    return node.items if isinstance(node, Sequence) else [node]


def _is_plain_text(node: Node) -> bool:
    return isinstance(node, Scalar) and is_plain(node.value)


def form_of(values: tuple[Any, ...]) -> Hashable:
    """Equal for values that are equal and of the same types."""
    kinds = tuple(map(type, values))
    return (values, kinds) if _SIMPLE.issuperset(kinds) else (tuple(map(_hashable, values)), kinds)


def is_plain(text: object) -> bool:
    """Whether a text is one that no rule has anything to say about."""
    if type(text) is not str or text.isspace() or text == "" or "{{" in text:
        return False
    return text.isprintable() or fault_of(text) is None


def _hashable(value: Hashable | dict[str, Any] | list[Any]) -> Hashable:
    if isinstance(value, dict):
        return *value, form_of(tuple(value.values()))
    return form_of(tuple(value)) if isinstance(value, list) else value
