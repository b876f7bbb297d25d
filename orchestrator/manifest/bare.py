"""A CSV or JSONL file as a bare list of jobs."""

import re
from collections.abc import Hashable, Iterator
from collections.abc import Mapping as MappingType
from pathlib import PurePosixPath
from typing import NamedTuple, Protocol

from orchestrator.manifest.findings import Findings
from orchestrator.manifest.nodes import Entry, Mapping, Node
from orchestrator.manifest.row import Row
from orchestrator.manifest.rows import CSV_SUFFIXES, JSONL_SUFFIXES

BARE_SUFFIXES = (CSV_SUFFIXES | JSONL_SUFFIXES) - {".txt"}  # a manifest of that name is YAML
_NOT_IN_NAMES = re.compile(r"[^a-z0-9]+")
_MAX_NAME = 64


class BareRow(NamedTuple):
    """A row of a bare list, before all that it says is read; see `Patterns`."""

    number: int
    columns: dict[str, str]
    place: str
    form: Hashable | None
    id: str
    prompt: str | None
    labels: Entry | None
    pictures: MappingType[str, Node]


class BareJob(NamedTuple):
    """A job of a bare list. `is_cells`: its values are text that was never told apart from numbers.

    `origin` is what messages name where its places are not its own.
    """

    node: Mapping
    row: Row
    findings: Findings
    is_cells: bool
    origin: str | None = None


class BareList(Protocol):
    """The jobs of a file."""

    def rows(self) -> Iterator[BareRow]:
        """All that are not empty, once."""
        ...

    def read(self, number: int) -> BareJob:
        """What one of them says, with findings of its own."""
        ...


def is_bare(name: str) -> bool:
    """Whether a file of this name is a bare list of jobs."""
    return PurePosixPath(name).suffix.lower() in BARE_SUFFIXES


def collection_name(name: str) -> str:
    """A file's name as a collection's: `Spring 2027.csv` gives `spring-2027`."""
    stem = PurePosixPath(name).stem.lower()
    return _NOT_IN_NAMES.sub("-", stem).strip("-")[:_MAX_NAME].strip("-") or "jobs"
