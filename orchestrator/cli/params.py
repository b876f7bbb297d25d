"""Arguments and options that several commands share, and how their text is read."""

import re
from decimal import Decimal, InvalidOperation
from typing import Annotated
from uuid import UUID

import typer

from orchestrator.base.money import parse_amount
from orchestrator.base.payments import ATOMIC
from orchestrator.cli import completing

_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s?)?")
_UNIT_SECONDS = (86_400, 3_600, 60, 1)
_LONGEST_SECONDS = 100 * 366 * 86_400  # a time before or after now has to be a date
_MOST_USDC = Decimal(10**9)
_PLAIN_DIGITS = re.compile(r"[0-9]+(\.[0-9]+)?", re.ASCII)
_LEAST_CREDITS, _MOST_CREDITS = Decimal("0.000001"), Decimal(10**12)


def credit_amount(text: str) -> Decimal:
    """An exact amount of credits above zero with at most six decimals, as the store keeps it. Raises BadParameter."""
    try:
        amount = parse_amount(text)
    except ValueError:
        amount = Decimal(0)
    if not _LEAST_CREDITS <= amount <= _MOST_CREDITS or amount % _LEAST_CREDITS:
        raise typer.BadParameter(f"{text!r} is not an amount of credits above zero; write it like 500 or 12.5")
    return amount


def usdc_amount(text: str) -> Decimal:
    """An exact amount of USDC above zero with at most six decimals, as chains count it, in plain digits: `1e3` is more
    likely a slip than a thousand dollars. Raises BadParameter.
    """
    amount = parse_amount(text) if _PLAIN_DIGITS.fullmatch(text.strip()) else Decimal(0)
    if not ATOMIC <= amount <= _MOST_USDC or amount % ATOMIC:
        raise typer.BadParameter(f"{text!r} is not an amount of USDC above zero; write it like 5 or 12.50")
    return amount


def balance_amount(text: str) -> Decimal:
    """An exact amount of credits, zero included. Raises BadParameter."""
    try:
        return parse_amount(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not an amount of credits; write it like 500 or 12.5") from None


def duration_seconds(text: str) -> float:
    """Seconds of a duration like `90s`, `10m`, `6h`, `1h30m` or a bare number of seconds. Raises BadParameter."""
    found = _DURATION.fullmatch(text.strip())
    if found is None or not any(found.groups()):
        raise typer.BadParameter(f"{text!r} is not a duration; write it like 90s, 10m, 6h, 1h30m or 90d")
    total = sum(float(count or 0) * seconds for count, seconds in zip(found.groups(), _UNIT_SECONDS, strict=True))
    if total > _LONGEST_SECONDS:
        raise typer.BadParameter(f"{text!r} is longer than a hundred years")
    return total


def age_seconds(text: str) -> float:
    """Seconds of a duration with its unit: a bare `90` may well be meant as days. Raises BadParameter."""
    seconds = duration_seconds(text)
    if text.strip()[-1].isdigit():
        raise typer.BadParameter(f"{text!r} of what? Write it like 90d or 720h")
    return seconds


def share(text: str) -> Decimal:
    """A share from 0 to 1 of a percentage like `1%` or `2.5%`. Raises BadParameter."""
    try:
        percent = Decimal(text.strip().removesuffix("%"))
    except InvalidOperation:
        percent = Decimal(-1)
    if not text.strip().endswith("%") or not percent.is_finite() or not 0 <= percent <= 100:
        raise typer.BadParameter(f"{text!r} is not a share; write it like 1% or 2.5%")
    return percent / 100


def batch_reference(text: str) -> str:
    """What names a batch. Raises BadParameter for text that no id can hold."""
    if not text.isprintable():
        raise typer.BadParameter(f"{text!r} cannot name a batch")
    return text


def request_id(text: str) -> UUID:
    """A request id as the provider gives them. Raises BadParameter."""
    try:
        return UUID(text.strip())
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a request id; one looks like {UUID(int=0)}") from None


_BATCH_HELP = "An id, the beginning of one, a collection's name, or `latest`."
Batch = Annotated[
    str,
    typer.Argument(
        parser=batch_reference, metavar="BATCH", help=_BATCH_HELP, show_default=False, autocompletion=completing.batches
    ),
]
MaybeBatch = Annotated[
    str | None,
    typer.Argument(
        parser=batch_reference,
        metavar="BATCH",
        help=f"{_BATCH_HELP} Without one: all there are.",
        show_default=False,
        autocompletion=completing.batches,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Spend without asking.")]
MaxCredits = Annotated[
    Decimal | None,
    typer.Option(parser=credit_amount, metavar="N", help="Refuse when it would cost more credits than this."),
]
Canary = Annotated[
    int | None,
    typer.Option(
        min=1, max=1_000_000, metavar="N", help="Run the first N jobs of each model first; the rest waits for approve."
    ),
]
