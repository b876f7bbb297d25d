"""How the command line reads amounts, durations and shares."""

from decimal import Decimal

import pytest
import typer

from orchestrator.cli.params import age_seconds, balance_amount, credit_amount, duration_seconds, share


@pytest.mark.parametrize(("text", "amount"), [("500", "500"), ("12.5", "12.5"), ("0.1", "0.1"), ("1e3", "1000")])
def test_credit_amounts_are_exact(text: str, amount: str) -> None:
    assert credit_amount(text) == Decimal(amount)


@pytest.mark.parametrize("text", ["0", "0.0", "-1", "", "NaN", "inf", "1e999999", "0.0000001", "five", "1,5", "5%"])
def test_what_is_no_amount_above_zero(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        credit_amount(text)


def test_a_balance_may_be_zero() -> None:
    assert balance_amount("0") == 0
    with pytest.raises(typer.BadParameter):
        balance_amount("-1")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("10m", 600), ("6h", 21600), ("1h30m", 5400), ("2d", 172800), ("45", 45), ("0.5s", 0.5)],
)
def test_durations(text: str, seconds: float) -> None:
    assert duration_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-1s", "1w", "h", "m10", "1e3", "40000d", "9" * 400])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        duration_seconds(text)


def test_shares() -> None:
    assert share("1%") == Decimal("0.01")
    assert share("2.5%") == Decimal("0.025")
    assert share("100%") == 1
    for text in ("1", "101%", "-1%", "%", "NaN%", "x%"):
        with pytest.raises(typer.BadParameter):
            share(text)


def test_an_age_says_of_what() -> None:
    assert age_seconds(" 90d ") == 90 * 86_400
    with pytest.raises(typer.BadParameter, match="of what"):
        age_seconds("90")
