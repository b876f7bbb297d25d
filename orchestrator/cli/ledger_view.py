"""The ledger for people, and as CSV."""

import json
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from orchestrator.cli.console import printable, safe
from orchestrator.cli.spreadsheet import csv_lines
from orchestrator.cli.words import counted, credits_text

#: How many entries a person is shown.
ENTRIES_SHOWN = 50
_BOOKS = ("reserved", "in_doubt", "spent", "lost")
_ENTRY_TEXTS = ("at", "day", "batch", "job", "model", "submission", "kind", "from", "to")
_ENTRY_AMOUNTS = ("credits", "usd", "usd_per_credit")
#: How many findings a person is shown.
_FINDINGS_SHOWN = 20


def entry_table(entries: Sequence[dict[str, Any]]) -> Table:
    """One row an entry, in the order given."""
    table = Table("at (UTC)", "batch", "job", "what", box=SIMPLE_HEAD)
    table.add_column("credits", justify="right", no_wrap=True)
    table.add_column("from", no_wrap=True)
    table.add_column("to", no_wrap=True)
    for entry in entries:
        table.add_row(
            entry["at"].replace("T", " ").removesuffix("Z"),
            safe(entry["batch"]),
            safe(entry["job"]),
            entry["kind"],
            entry["credits"],
            _words(entry["from"]),
            _words(entry["to"]),
        )
    return table


def entries_json(entries: Iterable[dict[str, Any]]) -> Iterator[str]:
    """One JSON document, a line an entry."""
    before = '{"entries": ['
    for entry in entries:
        yield f"{before}\n{json.dumps(entry, ensure_ascii=False)}"
        before = ","
    yield "\n]}\n" if before == "," else f"{before}]}}\n"


def entries_csv(entries: Iterable[dict[str, Any]]) -> Iterator[str]:
    """One line an entry, after the header."""
    rows = (
        [*(entry[key] for key in _ENTRY_TEXTS), *(Decimal(entry[key]) for key in _ENTRY_AMOUNTS), entry["actor"]]
        for entry in entries
    )
    return csv_lines((*_ENTRY_TEXTS, *_ENTRY_AMOUNTS, "actor"), rows)


def sums_table(document: dict[str, Any]) -> Table:
    """The sums of each group, and of all."""
    total = document["total"]
    table = Table(printable(document["by"]), show_footer=True, box=SIMPLE_HEAD)
    table.columns[0].footer = "total"
    table.add_column("entries", footer=str(total["entries"]), justify="right")
    for book in _BOOKS:
        table.add_column(_words(book), footer=total["credits"][book], justify="right")
    table.add_column("spent and lost, USD", footer=_cost_usd(total), justify="right")
    for row in document["rows"]:
        amounts = (row["credits"][book] for book in _BOOKS)
        table.add_row(
            safe("(none)" if row["group"] is None else row["group"]), str(row["entries"]), *amounts, _cost_usd(row)
        )
    return table


def _cost_usd(row: dict[str, Any]) -> str:
    return f"~${Decimal(row['usd']['spent']) + Decimal(row['usd']['lost'])}"


def sums_csv(document: dict[str, Any]) -> Iterator[str]:
    """One line a group; the columns are the same whatever is grouped by."""
    columns = ("group", "entries", *_BOOKS, *(f"{book}_usd" for book in _BOOKS))
    rows = (
        [row["group"], row["entries"], *(Decimal(row[unit][book]) for unit in ("credits", "usd") for book in _BOOKS)]
        for row in document["rows"]
    )
    return csv_lines(columns, rows)


def check_lines(document: dict[str, Any]) -> list[Text]:
    """Whether the books balance, and where they do not."""
    if document["balanced"]:
        return [Text(f"balanced: {counted(document['entries'], 'movement')}", style="green")]
    findings = document["findings"]
    lines = [_finding(finding) for finding in findings[:_FINDINGS_SHOWN]]
    if len(findings) > len(lines):
        lines.append(safe(f"and {len(findings) - len(lines)} more; for all of them: --json", "red"))
    return [Text(f"not balanced: {counted(len(findings), 'finding')}", style="bold red"), *lines]


def _finding(finding: dict[str, Any]) -> Text:
    where = [f"{kind} {finding[kind]}" for kind in ("batch", "job", "submission") if finding[kind]]
    return safe(f"  {', '.join(where)}: {finding['message']} [{finding['rule']}]", "red")


def statement_lines(month: str, statement: dict[str, Any]) -> list[RenderableType]:
    """An account's month as a column of amounts that adds up."""
    table = Table(show_header=False, box=SIMPLE_HEAD)
    table.add_column()
    table.add_column(justify="right", no_wrap=True)
    table.add_column()
    opened_by, told = statement["opening"]["reading"], statement["provider_balance"]["reading"]
    rises = statement["top_ups"]["rises"]
    rows = (
        ("opening balance", statement["opening"]["credits"], _reading(opened_by)),
        ("top-ups", f"+{statement['top_ups']['credits']}", f"{statement['top_ups']['source']}: {len(rises)}"),
        ("charges", f"-{statement['charges']['credits']}", f"~${statement['charges']['usd']}"),
        ("lost", f"-{statement['lost']['credits']}", "taken for charged, nothing to fetch"),
        ("closing by the books", statement["closing"]["credits"], ""),
        ("in doubt at the end", statement["in_doubt"]["credits"], "perhaps charged, not taken off above"),
        ("reserved at the end", statement["reserved"]["credits"], "under way, not taken off above"),
        ("the provider's balance", statement["provider_balance"]["credits"], _reading(told)),
        ("booked after that reading", statement["provider_balance"]["booked_after"], ""),
        ("unexplained difference", statement["unexplained"]["credits"], _unexplained(statement)),
    )
    for name, amount, note in rows:
        table.add_row(name, "no reading" if amount is None else amount, safe(note, "dim"))
    return [safe(f"{statement['account']} at {statement['provider']}, {month} (UTC), in credits", "bold"), table]


def _reading(reading: dict[str, Any] | None) -> str:
    if reading is None:
        return ""
    noisy = "" if reading["quiet"] else ", while work was under way"
    return f"{credits_text(reading['credits'])} read at {reading['at']}{noisy}"


def _unexplained(statement: dict[str, Any]) -> str:
    if statement["unexplained"]["credits"] is None:
        return "it takes two readings"
    return "" if statement["unexplained"]["credits"] == "0" else "by others, or what is in doubt or under way"


def _words(book: str) -> str:
    return book.replace("_", " ")
