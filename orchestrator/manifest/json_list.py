"""A JSONL file as a bare list of jobs: one object a line."""

from collections.abc import Iterator

from orchestrator.manifest.bare import BareJob, BareRow
from orchestrator.manifest.json_lines import read_json_line, read_quickly, split_lines
from orchestrator.manifest.nodes import Entry, Mapping, Scalar, node_of
from orchestrator.manifest.patterns import form_of_job
from orchestrator.manifest.row import Row

_LABELS = Scalar("labels", 1, 1)


class JsonList:
    """The jobs of a text. Lines count as rows."""

    def __init__(self, text: str, file: str) -> None:
        self._lines = split_lines(text)
        self._file = file
        self._nothing: dict[str, str] = {}

    def rows(self) -> Iterator[BareRow]:
        """All that are not empty."""
        for number, line in enumerate(self._lines, start=1):
            if line.strip():
                yield self._row(number, line)

    def read(self, number: int) -> BareJob:
        """What a line says."""
        line = read_json_line(number, self._lines[number - 1], self._file)
        return BareJob(line.node or Mapping({}, number, 1), Row({}, _place(number)), line.findings, False)

    def _row(self, number: int, line: str) -> BareRow:
        data = read_quickly(line)
        form = form_of_job(data) if isinstance(data, dict) and "id" in data else None
        if form is None:
            return BareRow(number, self._nothing, _place(number), None, "", None, None)
        labels = Entry(_LABELS, node_of(data["labels"])) if "labels" in data else None
        return BareRow(number, self._nothing, _place(number), form, data["id"], data.get("prompt"), labels)


def _place(number: int) -> str:
    return f"row {number}"
