"""How amounts and days are read from the command line, and how CSV is written."""

from datetime import date
from decimal import Decimal

import pytest
import typer

from orchestrator.cli.budget import cap, dollars, in_credits, limit_of
from orchestrator.cli.ledger import day
from orchestrator.cli.spreadsheet import csv_lines


@pytest.mark.parametrize(
    ("text", "amount", "unit"),
    [
        ("500", "500", "credits"),
        ("500credits", "500", "credits"),
        ("500 credits", "500", "credits"),
        ("1 credit", "1", "credits"),
        (" 12.5 ", "12.5", "credits"),
        ("2.60usd", "2.6", "usd"),
        ("2.60 USD", "2.6", "usd"),
        ("$2.60", "2.6", "usd"),
        ("$ 2.60 usd", "2.6", "usd"),
        ("0", "0", "credits"),
        ("0.000001usd", "0.000001", "usd"),
        ("0.013938 USDC", "0.013938", "usdc"),
    ],
)
def test_an_amount_and_its_unit(text: str, amount: str, unit: str) -> None:
    limit = limit_of(text)
    assert (limit.amount, limit.unit) == (Decimal(amount), unit)
    assert limit_of(cap(text)) == limit


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-5",
        "NaN",
        "inf",
        "1e3",
        "0.0000001",
        "5 euros",
        "$5 credits",
        "$5 usdc",
        "$",
        "usd",
        "1,000",
        "9999999999999",
        "٣",
        "none",
    ],
)
def test_what_is_no_amount(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="is not an amount"):
        limit_of(text)


def test_no_cap_and_units_that_are_said_twice() -> None:
    assert cap("None") == "none"
    assert dollars("5").unit == "usd"
    assert dollars("5usd") == dollars("$5")
    assert in_credits("5credits") == in_credits("5")
    for reader, text in ((dollars, "5credits"), (in_credits, "$5")):
        with pytest.raises(typer.BadParameter, match="is not in"):
            reader(text)


def test_days() -> None:
    assert day("2026-11-22") == date(2026, 11, 22)
    for text in ("20261122", "2026-11-31", "2026-W47-7", "tomorrow", "", "9999-12-31", "0001-01-01"):
        with pytest.raises(typer.BadParameter, match="is not a day"):
            day(text)


def test_csv_keeps_numbers_and_disarms_formulas() -> None:
    lines = list(csv_lines(("a", "b"), [("=1+1", Decimal("-3.50")), ("-3", None), ("x,y", True)]))
    assert lines == ["a,b\r\n", "'=1+1,-3.5\r\n", "'-3,\r\n", '"x,y",true\r\n']
    assert list(csv_lines(("a", "=b", "-c"), [])) == ["a,'=b,'-c\r\n"], "a column may be named by anybody"
