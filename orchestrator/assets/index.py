"""`index.json` and `index.csv`: what a collection's stored assets are. Pure; holds no source URL."""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from orchestrator.base.formulas import plain_cell
from orchestrator.base.money import optional_canonical


@dataclass(frozen=True, slots=True)
class IndexRow:
    """One stored original; `credits` or `usdc` is what it cost, whichever paid; `tags` are the provider's own objects.

    `row` are the columns of the row that its job was made from.
    """

    job: str
    index: int
    type: str
    model: str
    prompt: str
    uri: str
    key: str
    sha256: str
    bytes: int
    mime_type: str
    width: int | None
    height: int | None
    duration_seconds: float | None
    credits: Decimal | None
    usdc: Decimal | None
    request_id: str | None
    completed_at: datetime | None
    labels: Mapping[str, str] = field(default_factory=dict)
    tags: Sequence[Mapping[str, Any]] = ()
    row: Mapping[str, Any] = field(default_factory=dict)


def index_documents(collection: str, rows: Iterable[IndexRow], *, sandbox: bool) -> tuple[bytes, bytes]:
    """The bytes of `index.json` and `index.csv`, the same for the same rows in any order.

    `sandbox` says whether the assets are a stand-in's, made for nothing.
    """
    entries = [_entry(row) for row in sorted(rows, key=lambda row: (row.job, row.index, row.key))]
    document = {"collection": collection, "sandbox": sandbox, "assets": entries}
    text = json.dumps(document, ensure_ascii=False, indent=1)
    return text.encode("utf-8", "replace"), _csv([entry | {"sandbox": sandbox} for entry in entries])


def is_of_sandbox(index_json: bytes) -> bool:
    """Whether an `index.json` lists a stand-in's assets; False for anything that does not say so."""
    try:
        document = json.loads(index_json)
    except ValueError:
        return False
    return isinstance(document, dict) and document.get("sandbox") is True


def _entry(row: IndexRow) -> dict[str, Any]:
    completed_at = row.completed_at
    return asdict(row) | {
        "credits": optional_canonical(row.credits),
        "usdc": optional_canonical(row.usdc),
        "completed_at": completed_at and completed_at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "labels": dict(sorted(row.labels.items())),
        "tags": [dict(tag) for tag in row.tags],
        "row": dict(row.row),
    }


def _csv(entries: list[dict[str, Any]]) -> bytes:
    """The facts of each asset, and after them the columns of its row; one of the same name as a fact is `row.name`."""
    facts = [*(name for name in IndexRow.__dataclass_fields__ if name != "row"), "sandbox"]
    columns = list(dict.fromkeys(name for entry in entries for name in entry["row"]))
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow([*facts, *(_cell("", f"row.{name}" if name in facts else name) for name in columns)])
    for entry in entries:
        row = [_cell("", entry["row"].get(name)) for name in columns]
        writer.writerow([*(_cell(name, entry[name]) for name in facts), *row])
    return text.getvalue().encode("utf-8", "replace")


def _cell(column: str, value: Any) -> str:
    if column == "labels":
        value = "; ".join(f"{name}={label}" for name, label in value.items())
    elif column == "tags":
        value = "; ".join(str(tag.get("tag", "")) for tag in value)
    elif isinstance(value, bool | dict | list):
        value = json.dumps(value, ensure_ascii=False)
    return plain_cell("" if value is None else str(value).replace("\0", ""))
