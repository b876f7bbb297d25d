"""A CSV file as a bare list of jobs: one job a row, its columns the fields."""

from collections.abc import Hashable, Iterator, Mapping
from operator import itemgetter
from typing import NamedTuple

from orchestrator.base.diagnostics import Code
from orchestrator.manifest.bare import BareJob, BareRow
from orchestrator.manifest.cells import read_cell, read_cells
from orchestrator.manifest.csv_reader import Record, Table, cell_places
from orchestrator.manifest.findings import Findings
from orchestrator.manifest.nodes import Entry, Node, Scalar
from orchestrator.manifest.patterns import NO_PICTURES, OWN_TEXTS, form_of_pictures, is_plain, is_plain_picture
from orchestrator.manifest.provider_fields import ProviderFields
from orchestrator.manifest.row import Row

_JSON = ("[", "{")
_NOWHERE = (1, 1)


class CsvList:
    """The jobs of a table. Raises CsvFault where the file breaks off: then none of its rows counts."""

    def __init__(self, table: Table, fields: ProviderFields, file: str) -> None:
        self._table = table
        self._fields = fields
        self._file = file
        columns = {name: index for index, name in enumerate(table.names) if name}
        self._kept = {name: index for name, index in columns.items() if name.startswith("x-")}
        self._nothing: dict[str, str] = {}
        self._id, self._prompt = columns.get("id"), columns.get("prompt")
        self._pictures = {name: index for name, index in columns.items() if name in fields.pictures}
        self._labels = {name: index for name, index in columns.items() if name.partition(".")[0] == "labels"}
        own = {*OWN_TEXTS, *self._kept, *self._pictures, *self._labels}
        alike = [index for name, index in columns.items() if name not in own]
        self._alike = itemgetter(*alike) if alike else None
        self._forms: dict[Hashable, Hashable] = {}
        self._rows = [self._row(record) for record in table.records()]

    def rows(self) -> Iterator[BareRow]:
        """All that are not empty."""
        return iter(self._rows)

    def read(self, number: int) -> BareJob:
        """What a row says."""
        record = self._table.record(number)
        cells = self._table.by_name(record)
        own = Findings(self._file, cells.get("id") or None)
        if record.fault:
            own.error(Code.YAML_SYNTAX, Scalar(None, record.line, 1), f"the row {record.fault}")
        columns = cell_places(list(cells.values()), record.raw)
        places = {name: (record.line, column) for name, column in zip(cells, columns, strict=True)}
        node = read_cells(cells, places, self._fields, own)
        return BareJob(node, Row(self._columns(record), _place(number)), own, True)

    def _columns(self, record: Record) -> dict[str, str]:
        """Those that are no fields of the job."""
        if not self._kept:
            return self._nothing
        return {name: record.cells[index] for name, index in self._kept.items() if index < len(record.cells)}

    def _row(self, record: Record) -> BareRow:
        form: Hashable = None
        prompt = None
        own = _Own(None, NO_PICTURES)
        job_id = ""
        if record.fault is None and self._id is not None and self._alike is not None:
            job_id = record.cells[self._id].strip()
            prompt = None if self._prompt is None else record.cells[self._prompt]
            found = self._own_cells(record) if self._pictures or self._labels else own
            if found and is_plain(job_id) and not job_id.startswith(_JSON) and (prompt is None or is_plain(prompt)):
                own = found
                form = (self._alike(record.cells), form_of_pictures(own.pictures))
                form = self._forms.setdefault(form, form)
        return BareRow(record.number, self._columns(record), _place(record.number), form, job_id, prompt, *own)

    def _own_cells(self, record: Record) -> "_Own | None":
        """What of a row's own cells beside its texts; None where they are not plain."""
        own = Findings(self._file)
        pictures = {}
        for name, index in self._pictures.items():
            if cell := record.cells[index].strip():
                node = read_cell(name, cell, _NOWHERE, self._fields, own)
                if node is None or not is_plain_picture(node):
                    return None
                pictures[name] = node
        cells = {name: record.cells[index] for name, index in self._labels.items()}
        labels = (
            read_cells(cells, dict.fromkeys(cells, _NOWHERE), self._fields, own).entries.get("labels")
            if cells
            else None
        )
        return None if own.errors else _Own(labels, pictures)


class _Own(NamedTuple):
    labels: Entry | None
    pictures: Mapping[str, Node]


def _place(number: int) -> str:
    return f"row {number}"
