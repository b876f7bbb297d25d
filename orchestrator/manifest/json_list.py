"""A JSONL file as a bare list of jobs: one object a line."""

from collections.abc import Iterator

from orchestrator.manifest.bare import BareJob, BareRow
from orchestrator.manifest.json_lines import read_json_line, read_quickly, split_lines
from orchestrator.manifest.nodes import Entry, Mapping, Scalar, node_of
from orchestrator.manifest.patterns import NO_PICTURES, form_of_job, plain_pictures
from orchestrator.manifest.provider_fields import ProviderFields
from orchestrator.manifest.row import Row

_KEY = Scalar(None, 1, 1)


class JsonList:
    """The jobs of a text. Lines count as rows."""

    def __init__(self, text: str, fields: ProviderFields, file: str) -> None:
        self._lines = split_lines(text)
        self._fields = fields
        self._own = fields.pictures | {"labels"}
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
        is_job = isinstance(data, dict) and "id" in data
        nodes = {name: Entry(_KEY, node_of(data[name])) for name in data if name in self._own} if is_job else {}
        pictures = plain_pictures(nodes, self._fields) if nodes else NO_PICTURES
        form = form_of_job(data, pictures) if is_job else None
        if form is None:
            return BareRow(number, self._nothing, _place(number), None, "", None, None, NO_PICTURES)
        own = (data["id"], data.get("prompt"), nodes.get("labels"), pictures)
        return BareRow(number, self._nothing, _place(number), form, *own)


def _place(number: int) -> str:
    return f"row {number}"
