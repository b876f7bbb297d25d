"""`ledger`: every credit that was reserved, charged and released; whether it balances; an account's month."""

import re
from collections.abc import Iterable
from datetime import date
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from orchestrator.base.errors import UsageError
from orchestrator.cli import completing
from orchestrator.cli.console import print_json, print_raw, safe, show, tell
from orchestrator.cli.ledger_view import (
    ENTRIES_SHOWN,
    check_lines,
    entries_csv,
    entries_json,
    entry_table,
    statement_lines,
    sums_csv,
    sums_table,
)
from orchestrator.cli.params import AsJson, batch_reference

if TYPE_CHECKING:
    from orchestrator.base.settings import Settings
    from orchestrator.operations.bookkeeping import Wanted

#: The command that stands for `ledger` without a subcommand. Nobody types this name, so that no batch is hidden by it.
_ENTRIES = " "
#: How much is written at once.
_LINES_AT_ONCE = 1000
_DAY = re.compile(r"2[0-9]{3}-[0-9]{2}-[0-9]{2}", re.ASCII)


class _EntriesUnlessNamed(TyperGroup):
    """`ledger`, `ledger BATCH` and `ledger --by day` list entries; only a first word that is a subcommand is one."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, args if args[:1] == ["statement"] else [_ENTRIES, *args])


class _InPlaceOfGroup(TyperCommand):
    """A command that its help and its errors call by the group's name."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        return super().make_context(parent.info_name, args, parent=parent.parent, **extra)


ledger = typer.Typer(cls=_EntriesUnlessNamed, help="Every credit, and every USDC, reserved, charged and released.")


def day(text: str) -> date:
    """A day like `2026-11-22`. Raises BadParameter."""
    try:
        return date.fromisoformat(text if _DAY.fullmatch(text) else "")
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a day; write it like 2026-11-22") from None


@ledger.command(_ENTRIES, cls=_InPlaceOfGroup, hidden=True)
def entries(
    batch: Annotated[
        str | None,
        typer.Argument(
            parser=batch_reference,
            metavar="BATCH",
            help="Only this batch. Without one: the account of the settings, or all where there are no credentials.",
            show_default=False,
            autocompletion=completing.batches,
        ),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Check that the books balance with the jobs; exit 1 where they do not.")
    ] = False,
    first: Annotated[
        Any, typer.Option("--from", parser=day, metavar="D", help="Only from this day on (UTC), like 2026-11-22.")
    ] = None,
    last: Annotated[Any, typer.Option("--to", parser=day, metavar="D", help="Only up to this day (UTC).")] = None,
    by: Annotated[
        str | None, typer.Option(metavar="day|model|label.x", help="Sums: what was moved into each book.")
    ] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV on stdout.")] = False,
    as_json: AsJson = False,
) -> int:
    """Show every credit reserved, charged, released, in doubt and lost, the newest last."""
    from orchestrator.base.settings import load_settings
    from orchestrator.operations import bookkeeping

    if as_csv and as_json:
        raise UsageError("--csv and --json exclude each other")
    settings = load_settings()
    if check:
        if first or last or by or as_csv:
            raise UsageError("--check is about whole books: it takes a batch and --json only")
        return _check(settings, batch, as_json=as_json)
    wanted = bookkeeping.Wanted(batch, first, last)
    if by is not None:
        _show_sums(bookkeeping.ledger_sums(settings, by, wanted), as_csv=as_csv, as_json=as_json)
    else:
        _show_entries(settings, wanted, as_csv=as_csv, as_json=as_json)
    return 0


def _check(settings: "Settings", batch: str | None, *, as_json: bool) -> int:
    from orchestrator.operations import bookkeeping

    document = bookkeeping.ledger_check(settings, batch)
    if as_json:
        print_json(document)
    else:
        show(*check_lines(document))
    return 0 if document["balanced"] else 1


def _show_sums(document: dict[str, Any], *, as_csv: bool, as_json: bool) -> None:
    if as_json:
        print_json(document)
    elif as_csv:
        print_raw("".join(sums_csv(document)))
    elif document["rows"]:
        show(sums_table(document))
    else:
        tell("there are no such entries")


def _show_entries(settings: "Settings", wanted: "Wanted", *, as_csv: bool, as_json: bool) -> None:
    from orchestrator.operations import bookkeeping

    if as_json or as_csv:
        found = bookkeeping.ledger_entries(settings, wanted)
        _print_all(entries_json(found) if as_json else entries_csv(found))
        return
    newest, total = bookkeeping.newest_entries(settings, wanted, ENTRIES_SHOWN)
    if newest:
        show(entry_table(newest))
    if total > len(newest):
        tell(safe(f"the newest {len(newest)} of {total} entries; for all of them: --csv or --json", "dim"))
    elif not total:
        tell("there are no such entries")


def _print_all(lines: Iterable[str]) -> None:
    """Write text as it is made: there may be very much of it."""
    rest = iter(lines)
    while chunk := "".join(islice(rest, _LINES_AT_ONCE)):
        print_raw(chunk)


@ledger.command()
def statement(
    month: Annotated[str, typer.Argument(metavar="MONTH", help="A UTC month, like 2026-11.", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Show a month against the provider's balance. What there was, what came and went, and what was left at its end."""
    from orchestrator.base.settings import load_settings
    from orchestrator.operations import bookkeeping

    document = bookkeeping.ledger_statement(load_settings(), month)
    if as_json:
        print_json(document)
    elif document["accounts"]:
        for account in document["accounts"]:
            show(*statement_lines(document["month"], account))
    else:
        tell(f"there was no money in {month}")
