"""`budget`: what may be spent, by the account in a day or a month, and by one batch."""

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from orchestrator.base.errors import UsageError
from orchestrator.base.money import unit_word
from orchestrator.base.payments import Payment
from orchestrator.cli import completing
from orchestrator.cli.console import print_json, safe, show, tell
from orchestrator.cli.params import AsJson, batch_reference
from orchestrator.cli.words import money_text

if TYPE_CHECKING:
    from orchestrator.operations.budgeting import Limit, Window
    from orchestrator.store.budgets import CapUnit

budget = typer.Typer(help="What may be spent: the account's caps, a batch's budget.")

_AMOUNT = re.compile(r"(?P<dollar>\$?) ?(?P<number>[0-9]{1,13}(?:\.[0-9]{1,6})?) ?(?P<unit>credits?|usdc?)?", re.ASCII)
_MOST = Decimal(10**12)
_UNITS: dict[str, "CapUnit"] = {"usd": "usd", "usdc": "usdc"}


def limit_of(text: str, plain_unit: "CapUnit" = "credits") -> "Limit":
    """The amount that a text like `500`, `500credits`, `2.60usd`, `$2.60` or `2.60usdc` names. Raises BadParameter."""
    from orchestrator.operations.budgeting import Limit

    found = _AMOUNT.fullmatch(text.strip().lower())
    if found is None or (found["dollar"] and (found["unit"] or "usd") != "usd") or Decimal(found["number"]) > _MOST:
        raise typer.BadParameter(
            f"{text!r} is not an amount of zero or more; write it like 500, 12.5credits, 2.60usd or 2.60usdc"
        )
    unit = found["unit"] or ("usd" if found["dollar"] else plain_unit)
    return Limit(Decimal(found["number"]), _UNITS.get(unit, "credits"))


def cap(text: str) -> str:
    """An amount, or `none` for no cap; which unit a plain number has, the account tells. Raises BadParameter."""
    text = text.strip().lower()
    if text != "none":
        limit_of(text)
    return text


def dollars(text: str) -> "Limit":
    """An amount of dollars. Raises BadParameter."""
    return _only("usd", text)


def in_credits(text: str) -> "Limit":
    """An amount of credits. Raises BadParameter."""
    return _only("credits", text)


def _only(unit: "CapUnit", text: str) -> "Limit":
    limit = limit_of(text, unit)
    if limit.unit != unit:
        raise typer.BadParameter(f"{text!r} is not in {unit}")
    return limit


ByPayment = Annotated[
    Payment | None,
    typer.Option(
        "--payment",
        metavar="PAYMENT",
        help="Whose caps: credits, x402-base, x402-solana, wallet-base or wallet-solana. Without it: credits, or the "
        "only one whose key is set.",
    ),
]


@budget.callback()
def _budget() -> None:
    """What may be spent: the account's daily and monthly caps (UTC), a batch's budget."""


@budget.command("set")
def set_(
    daily: Annotated[
        Any,
        typer.Option(parser=cap, metavar="AMOUNT", help="The account's cap a UTC day: 500, 2.60usd, 2.60usdc or none."),
    ] = None,
    monthly: Annotated[
        Any,
        typer.Option(
            parser=cap, metavar="AMOUNT", help="The account's cap a UTC month: 500, 2.60usd, 2.60usdc or none."
        ),
    ] = None,
    batch: Annotated[
        str | None,
        typer.Option(
            parser=batch_reference,
            metavar="BATCH",
            help="Whose budget to raise or lower.",
            autocompletion=completing.batches,
        ),
    ] = None,
    credits_: Annotated[
        Any, typer.Option("--credits", parser=in_credits, metavar="N", help="The batch's budget in credits.")
    ] = None,
    usd: Annotated[Any, typer.Option(parser=dollars, metavar="X", help="The batch's budget in dollars.")] = None,
    payment: ByPayment = None,
    as_json: AsJson = False,
) -> None:
    """Set the account's caps, or a batch's budget. `resume` then lets held batches go on."""
    from orchestrator.base.settings import load_settings
    from orchestrator.operations import budgeting

    given: dict[Window, str | None] = {"daily": daily, "monthly": monthly}
    caps = {window: text for window, text in given.items() if text is not None}
    amounts = [limit for limit in (credits_, usd) if limit is not None]
    _require_one_meaning(batch, payment, caps=bool(caps), amounts=amounts)
    settings = load_settings()
    if batch is not None:
        document = budgeting.set_batch_budget(batch, settings, amounts[0])
    else:
        payment = budgeting.payment_of(settings, payment)
        limits = {w: None if text == "none" else limit_of(text, payment.unit.value) for w, text in caps.items()}
        document = budgeting.set_budget(settings, limits, payment)
    _show(document, as_json=as_json)


def _require_one_meaning(batch: str | None, payment: Payment | None, *, caps: bool, amounts: list[Any]) -> None:
    """Raises UsageError unless the options are an account's caps, or a batch and one amount."""
    if batch is None and amounts:
        raise UsageError(
            "--credits and --usd are a batch's budget", hint="name it with --batch, or set --daily 2.60usd"
        )
    if batch is None and not caps:
        raise UsageError("nothing to set", hint="orchestrator budget set --daily 500 --monthly 20usd")
    if batch is not None and (caps or payment or len(amounts) != 1):
        raise UsageError(
            "--batch takes one amount: --credits N or --usd X", hint="set the account's caps by themselves"
        )


@budget.command("show")
def show_(payment: ByPayment = None, as_json: AsJson = False) -> None:
    """Show the account's caps, what is left, and what is held for them."""
    from orchestrator.base.settings import load_settings
    from orchestrator.operations import budgeting

    _show(budgeting.budget(load_settings(), payment), as_json=as_json)


def _show(document: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(document)
    elif "batch" in document:
        amounts = (f"{name} {_amount(document[name])}" for name in ("budget", "used", "left"))
        show(safe(f"{document['batch']}: {', '.join(amounts)}"))
    else:
        show(_table(document), *_held(document))
    if not as_json:
        tell(*(safe(notice, "yellow") for notice in document["notices"]))


def _amount(amounts: dict[str, str]) -> str:
    """An amount of the account's unit, credits with their dollars."""
    unit = "usdc" if "usdc" in amounts else "credits"
    return money_text(amounts[unit], unit, amounts["usd"])


def _table(document: dict[str, Any]) -> Table:
    table = Table("window", box=SIMPLE_HEAD)
    for column in ("cap", "used", "left"):
        table.add_column(column, justify="right")
    table.add_column("until (UTC)", no_wrap=True)
    for window in ("daily", "monthly"):
        use = document[window]
        cap_text, left = (f"{use[key]} {unit_word(use['unit'])}" if use["cap"] else "none" for key in ("cap", "left"))
        used = _amount(use["used"])
        table.add_row(
            window, cap_text, used, left if use["cap"] else "", use["ends_at"].replace("T00:00:00Z", " 00:00")
        )
    return table


def _held(document: dict[str, Any]) -> list[Text]:
    return [safe(f"{row['batch']} is held: {row['message']}; next: {row['command']}") for row in document["held"]]
