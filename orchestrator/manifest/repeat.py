"""A job that is like an earlier one in all but its own texts, as most jobs of a long list are."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from orchestrator.base.diagnostics import Diagnostic
from orchestrator.manifest.job_keys import ManifestJob
from orchestrator.manifest.nodes import Node


class Repeat(NamedTuple):
    """A sound job of which nothing else differs from `pattern`. `prompt` is None where that is the same, too.
    `pictures` are values of the provider's fields: texts, or lists of texts, each of which names a picture.

    `columns` and `place` are those of the row that it was made from. `read` gives the whole job by its number `at` in
    what it is read from, and its ordinal.
    """

    ordinal: int
    id: str
    prompt: str | None
    labels: dict[str, str]
    pictures: Mapping[str, Node]
    columns: dict[str, Any] | None
    place: str | None
    at: int
    pattern: ManifestJob
    read: Callable[[int, int], ManifestJob]

    @property
    def is_template(self) -> bool:
        """As that of its pattern."""
        return self.pattern.is_template

    @property
    def is_broken(self) -> bool:
        """Never: a broken job is no pattern."""
        return False

    @property
    def faults(self) -> tuple[Diagnostic, ...]:
        """None, as its pattern."""
        return ()

    def blames_row(self, _error: Diagnostic) -> bool:
        """As `ManifestJob.blames_row`: nothing is wrong with its row."""
        return False

    def in_full(self) -> ManifestJob:
        """All that the job says, with the places where it does."""
        return self.read(self.at, self.ordinal)


Job = ManifestJob | Repeat
