"""Which jobs of a list are alike in all but their own texts: the id, the prompt and the labels.

What can be said of all of them is found out about the first one, their pattern. Of the others only the texts are looked
at: whatever is not plainly good is read, and judged, like any other job.
"""

from collections.abc import Callable, Hashable
from typing import Any

from orchestrator.manifest.job_keys import ManifestJob
from orchestrator.manifest.job_list import JobList
from orchestrator.manifest.nodes import fault_of
from orchestrator.manifest.repeat import Repeat

OWN_TEXTS = ("id", "prompt")
OWN_KEYS = (*OWN_TEXTS, "labels")
"""The keys that make no difference to any other key."""
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
    ) -> bool:
        """Adds the job to the list if it repeats another one soundly."""
        pattern = self._known.get(form)
        if pattern is None or not job_id.isprintable():
            return False
        ordinal = self._jobs.claim(job_id)
        if ordinal is None:
            return False
        self._jobs.jobs.append(Repeat(ordinal, job_id, prompt, labels, columns, place, at, pattern, self._read))
        return True

    def learn(self, form: Hashable | None) -> None:
        """The job that was added last is a sound one of this form."""
        job = self._jobs.jobs[-1]
        if form is not None and isinstance(job, ManifestJob) and job.take is None and len(self._known) < _MAX_PATTERNS:
            self._known[form] = job


def form_of_job(data: dict[str, Any]) -> Hashable | None:
    """What jobs have in common that are alike in all but their own texts; None where one of these is not plain."""
    for name in OWN_TEXTS:
        if name in data and not is_plain(data[name]):
            return None
    return *data, form_of(tuple([value for name, value in data.items() if name not in OWN_KEYS]))


def form_of(values: tuple[Any, ...]) -> Hashable:
    """Equal for values that are equal and of the same types."""
    kinds = tuple(map(type, values))
    return (values, kinds) if _SIMPLE.issuperset(kinds) else (tuple(map(_hashable, values)), kinds)


def is_plain(text: object) -> bool:
    """Whether a text is one that no rule has anything to say about."""
    return type(text) is str and not text.isspace() and text != "" and "{{" not in text and fault_of(text) is None


def _hashable(value: Hashable | dict[str, Any] | list[Any]) -> Hashable:
    if isinstance(value, dict):
        return *value, form_of(tuple(value.values()))
    return form_of(tuple(value)) if isinstance(value, list) else value
