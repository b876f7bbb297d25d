"""The row that a job is made from."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Row:
    """One row that a job is made from: its columns as JSON data, and where it stands (`products.csv, row 12`)."""

    columns: dict[str, Any]
    place: str
