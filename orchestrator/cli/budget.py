"""`budget`: what may be spent, by the account in a day or a month, and by one batch."""

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from orchestrator.base.errors import UsageError
from orchestrator.cli.console import print_json, safe, show, tell
from orchestrator.cli.params import AsJson, batch_reference
from orchestrator.cli.words import credits_text

if TYPE_CHECKING:
    from orchestrator.operations.budgeting import Limit, Window

budget = typer.Typer(help="What may be spent: the account's daily and monthly caps, a batch's budget.")

_AMOUNT = re.compile(r"(?P<dollar>\$?) ?(?P<number>[0-9]{1,13}(?:\.[0-9]{1,6})?) ?(?P<unit>credits?|usd)?", re.ASCII)
_MOST = Decimal(10**12)


def limit_of(text: str, plain_unit: Literal["credits", "usd"] = "credits") -> "Limit":
    """The amount that a text like `500`, `500credits`, `2.60usd` or `$2.60` names. Raises BadParameter."""
    from orchestrator.operations.budgeting import Limit

    found = _AMOUNT.fullmatch(text.strip().lower())
    if found is None or (found["dollar"] and (found["unit"] or "usd") != "usd") or Decimal(found["number"]) > _MOST:
        raise typer.BadParameter(
            f"{text!r} is not an amount of zero or more; write it like 500, 12.5credits or 2.60usd"
        )
    unit = found["unit"] or ("usd" if found["dollar"] else plain_unit)
    return Limit(Decimal(found["number"]), "usd" if unit == "usd" else "credits")


def cap(text: str) -> "Limit | Literal['none']":
    """An amount, or `none` for no cap. Raises BadParameter."""
    return "none" if text.strip().lower() == "none" else limit_of(text)


def dollars(text: str) -> "Limit":
    """An amount of dollars. Raises BadParameter."""
    return _only("usd", text)


def in_credits(text: str) -> "Limit":
    """An amount of credits. Raises BadParameter."""
    return _only("credits", text)


def _only(unit: Literal["credits", "usd"], text: str) -> "Limit":
    limit = limit_of(text, unit)
    if limit.unit != unit:
        raise typer.BadParameter(f"{text!r} is not in {unit}")
    return limit


@budget.callback()
def _budget() -> None:
    """What may be spent: the account's daily and monthly caps (UTC), a batch's budget."""


@budget.command("set")
def set_(
    daily: Annotated[
        Any, typer.Option(parser=cap, metavar="AMOUNT", help="The account's cap a UTC day: 500, 2.60usd or none.")
    ] = None,
    monthly: Annotated[
        Any, typer.Option(parser=cap, metavar="AMOUNT", help="The account's cap a UTC month: 500, 2.60usd or none.")
    ] = None,
    batch: Annotated[
        str | None, typer.Option(parser=batch_reference, metavar="BATCH", help="Whose budget to raise or lower.")
    ] = None,
    credits_: Annotated[
        Any, typer.Option("--credits", parser=in_credits, metavar="N", help="The batch's budget in credits.")
    ] = None,
    usd: Annotated[Any, typer.Option(parser=dollars, metavar="X", help="The batch's budget in dollars.")] = None,
    as_json: AsJson = False,
) -> None:
    """Set the account's caps, or a batch's budget. `resume` then lets held batches go on."""
    from orchestrator.base.settings import load_settings
    from orchestrator.operations import budgeting

    given: dict[Window, Any] = {"daily": daily, "monthly": monthly}
    limits: dict[Window, Limit | None] = {
        window: None if limit == "none" else limit for window, limit in given.items() if limit is not None
    }
    _require_one_meaning(batch, caps=bool(limits), amounts=[limit for limit in (credits_, usd) if limit is not None])
    if batch is not None:
        document = budgeting.set_batch_budget(batch, load_settings(), credits_ or usd)
    else:
        document = budgeting.set_budget(load_settings(), limits)
    _show(document, as_json=as_json)


def _require_one_meaning(batch: str | None, *, caps: bool, amounts: list[Any]) -> None:
    """Raises UsageError unless the options are an account's caps, or a batch and one amount."""
    if batch is None and amounts:
        raise UsageError(
            "--credits and --usd are a batch's budget", hint="name it with --batch, or set --daily 2.60usd"
        )
    if batch is None and not caps:
        raise UsageError("nothing to set", hint="orchestrator budget set --daily 500 --monthly 20usd")
    if batch is not None and (caps or len(amounts) != 1):
        raise UsageError(
            "--batch takes one amount: --credits N or --usd X", hint="set the account's caps by themselves"
        )


@budget.command("show")
def show_(as_json: AsJson = False) -> None:
    """Show the account's caps, what is used and left, and what is held for them."""
    from orchestrator.base.settings import load_settings
    from orchestrator.operations import budgeting

    _show(budgeting.budget(load_settings()), as_json=as_json)


def _show(document: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(document)
    elif "batch" in document:
        amounts = (f"{name} {credits_text(**_amounts(document[name]))}" for name in ("budget", "used", "left"))
        show(safe(f"{document['batch']}: {', '.join(amounts)}"))
    else:
        show(_table(document), *_held(document))
    if not as_json:
        tell(*(safe(notice, "yellow") for notice in document["notices"]))


def _amounts(both: dict[str, str]) -> dict[str, str]:
    return {"credits_amount": both["credits"], "usd": both["usd"]}


def _table(document: dict[str, Any]) -> Table:
    table = Table("window", box=SIMPLE_HEAD)
    for column in ("cap", "used", "left"):
        table.add_column(column, justify="right")
    table.add_column("until (UTC)", no_wrap=True)
    for window in ("daily", "monthly"):
        use = document[window]
        cap_text, left = (f"{use[key]} {use['unit']}" if use["cap"] else "none" for key in ("cap", "left"))
        used = credits_text(**_amounts(use["used"]))
        table.add_row(
            window, cap_text, used, left if use["cap"] else "", use["ends_at"].replace("T00:00:00Z", " 00:00")
        )
    return table


def _held(document: dict[str, Any]) -> list[Text]:
    return [safe(f"{row['batch']} is held: {row['message']}; next: {row['command']}") for row in document["held"]]
