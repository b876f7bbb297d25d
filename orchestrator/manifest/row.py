"""The row that a job is made from."""

from typing import Any, NamedTuple


class Row(NamedTuple):
    """One row that a job is made from: its columns as JSON data, and where it stands (`products.csv, row 12`)."""

    columns: dict[str, Any]
    place: str
