"""CSV that no spreadsheet will compute: text that looks like a formula is kept from being one."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any

from orchestrator.base.formulas import plain_cell
from orchestrator.base.money import canonical


def csv_lines(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    """The header and one line a row. A Decimal is a number, also below zero; everything else is text."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow([_cell(column) for column in columns])
    for row in rows:
        yield _taken(text)
        writer.writerow([_cell(value) for value in row])
    yield _taken(text)


def _taken(text: io.StringIO) -> str:
    written = text.getvalue()
    text.seek(0)
    text.truncate()
    return written


def _cell(value: Any) -> str:
    if isinstance(value, Decimal):
        return canonical(value)
    return plain_cell("" if value is None else str(value).lower() if isinstance(value, bool) else str(value))
