"""The ledger for people, and as CSV."""

import json
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from orchestrator.base.money import unit_word
from orchestrator.cli.console import printable, safe
from orchestrator.cli.spreadsheet import csv_lines
from orchestrator.cli.words import counted, money_text

#: How many entries a person is shown.
ENTRIES_SHOWN = 50
_BOOKS = ("reserved", "in_doubt", "spent", "lost")
_ENTRY_TEXTS = ("at", "day", "batch", "job", "model", "submission", "kind", "from", "to")
_ENTRY_AMOUNTS = ("credits", "usd", "usd_per_credit")
_UNITS = ("credits", "usdc")
#: How many findings a person is shown.
_FINDINGS_SHOWN = 20


def entry_table(entries: Sequence[dict[str, Any]]) -> Table:
    """One row an entry, in the order given; where there is USDC among them, each with its unit and transaction."""
    only_credits = all(entry["unit"] == "credits" for entry in entries)
    table = Table("at (UTC)", "batch", "job", "what", box=SIMPLE_HEAD)
    table.add_column("credits" if only_credits else "amount", justify="right", no_wrap=True)
    table.add_column("from", no_wrap=True)
    table.add_column("to", no_wrap=True)
    if not only_credits:
        table.add_column("transaction", overflow="fold")
    for entry in entries:
        table.add_row(
            entry["at"].replace("T", " ").removesuffix("Z"),
            safe(entry["batch"]),
            safe(entry["job"]),
            entry["kind"],
            entry["credits"] if only_credits else money_text(entry[entry["unit"]], entry["unit"]),
            _words(entry["from"]),
            _words(entry["to"]),
            *([] if only_credits else [safe((entry["payment"] or {}).get("transaction") or "")]),
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
        [
            *(entry[key] for key in _ENTRY_TEXTS),
            *(Decimal(entry[key]) for key in _ENTRY_AMOUNTS),
            entry["actor"],
            Decimal(entry["usdc"] or 0),
            entry["unit"],
        ]
        for entry in entries
    )
    return csv_lines((*_ENTRY_TEXTS, *_ENTRY_AMOUNTS, "actor", "usdc", "unit"), rows)


def sums_table(document: dict[str, Any]) -> Table:
    """The sums of each group, and of all."""
    total = document["total"]
    table = Table(printable(document["by"]), show_footer=True, box=SIMPLE_HEAD)
    table.columns[0].footer = "total"
    table.add_column("entries", footer=str(total["entries"]), justify="right")
    for book in _BOOKS:
        table.add_column(_words(book), footer=_moved(total, book), justify="right")
    table.add_column("spent and lost, USD", footer=_cost_usd(total), justify="right")
    for row in document["rows"]:
        amounts = (_moved(row, book) for book in _BOOKS)
        table.add_row(
            safe("(none)" if row["group"] is None else row["group"]), str(row["entries"]), *amounts, _cost_usd(row)
        )
    return table


def _moved(row: dict[str, Any], book: str) -> str:
    """What was moved into a book: credits as a plain number, and USDC beside them where there is any."""
    if row["usdc"][book] == "0":
        return str(row["credits"][book])
    return ", ".join(money_text(row[unit][book], unit) for unit in _UNITS if row[unit][book] != "0")


def _cost_usd(row: dict[str, Any]) -> str:
    return f"~${Decimal(row['usd']['spent']) + Decimal(row['usd']['lost'])}"


def sums_csv(document: dict[str, Any]) -> Iterator[str]:
    """One line a group; the columns are the same whatever is grouped by."""
    columns = ("group", "entries", *_BOOKS, *(f"{book}_{unit}" for unit in ("usd", "usdc") for book in _BOOKS))
    rows = (
        [
            row["group"],
            row["entries"],
            *(Decimal(row[unit][book]) for unit in ("credits", "usd", "usdc") for book in _BOOKS),
        ]
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
    unit = statement["unit"]
    opened_by, told = statement["opening"]["reading"], statement["provider_balance"]["reading"]
    rises = statement["top_ups"]["rises"]
    rows = (
        ("opening balance", statement["opening"][unit], _reading(opened_by, unit)),
        ("top-ups", f"+{statement['top_ups'][unit]}", f"{statement['top_ups']['source']}: {len(rises)}"),
        ("charges", f"-{statement['charges'][unit]}", _charges_note(statement)),
        ("lost", f"-{statement['lost'][unit]}", "taken for charged, nothing to fetch"),
        ("closing by the books", statement["closing"][unit], ""),
        ("in doubt at the end", statement["in_doubt"][unit], "perhaps charged, not taken off above"),
        ("reserved at the end", statement["reserved"][unit], "under way, not taken off above"),
        ("the provider's balance", statement["provider_balance"][unit], _reading(told, unit)),
        ("booked after that reading", statement["provider_balance"]["booked_after"], ""),
        ("unexplained difference", statement["unexplained"][unit], _unexplained(statement)),
    )
    for name, amount, note in rows:
        table.add_row(name, "no reading" if amount is None else amount, safe(note, "dim"))
    title = f"{statement['account']} at {statement['provider']}, {month} (UTC), in {unit_word(unit)}"
    return [safe(title, "bold"), table]


def _charges_note(statement: dict[str, Any]) -> str:
    """What the charges are in dollars; of USDC, how much of them was for settlement."""
    if statement["unit"] == "credits":
        return f"~${statement['charges']['usd']}"
    return f"{statement['settlement_fees']['usdc']} of it beyond the work, for settlement"


def _reading(reading: dict[str, Any] | None, unit: str) -> str:
    if reading is None:
        return ""
    noisy = "" if reading["quiet"] else ", while work was under way"
    return f"{money_text(reading[unit], unit)} read at {reading['at']}{noisy}"


def _unexplained(statement: dict[str, Any]) -> str:
    difference = statement["unexplained"][statement["unit"]]
    if difference is None:
        return "it takes two readings; this command takes one with the account's key, once nothing of it is under way"
    return "" if difference == "0" else "by others, or what is in doubt or under way"


def _words(book: str) -> str:
    return book.replace("_", " ")
