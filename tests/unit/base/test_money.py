"""Exact amounts in, one spelling out."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.base.money import canonical, credits_to_usd, in_words, optional_canonical, parse_amount

AMOUNTS = st.decimals(min_value=0, max_value=10**12, allow_nan=False, allow_infinity=False, places=6)


@pytest.mark.parametrize(
    ("value", "expected"),
    [("0", "0"), (" 12.50 ", "12.5"), (7, "7"), (Decimal("1E+3"), "1000"), ("1e-6", "0.000001"), ("-0", "0")],
)
def test_exact_amounts(value: Any, expected: str) -> None:
    assert canonical(parse_amount(value)) == expected


@pytest.mark.parametrize(
    "value", [1.5, 0.0, True, False, None, [], b"1", "", " ", "x", "1,5", "-1", -1, "NaN", "sNaN", "Infinity", "-inf"]
)
def test_what_is_no_exact_amount(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^not an (exact )?amount"):
        parse_amount(value)


@given(AMOUNTS)
def test_canonical_is_exact_and_has_one_spelling(amount: Decimal) -> None:
    text = canonical(amount)
    assert parse_amount(text) == amount
    assert canonical(parse_amount(text)) == text
    assert "e" not in text.lower()
    assert "." not in text or not text.endswith(("0", "."))


@pytest.mark.parametrize(
    ("amount", "text"), [("-0.00", "0"), ("0.000", "0"), ("100", "100"), ("-1.50", "-1.5"), ("1E+2", "100")]
)
def test_spellings(amount: str, text: str) -> None:
    assert canonical(Decimal(amount)) == text


def test_nothing_is_none() -> None:
    assert optional_canonical(None) is None
    assert optional_canonical(Decimal("2.0")) == "2"


def test_dollars_are_exact() -> None:
    assert credits_to_usd(Decimal(228), Decimal("0.0052")) == Decimal("1.1856")


def test_words_name_the_unit() -> None:
    assert [
        in_words(Decimal("0.013938"), "usdc"),
        in_words(Decimal("14.0"), "credits"),
        in_words(Decimal(2), "usd"),
    ] == [
        "0.013938 USDC",
        "14 credits",
        "2 usd",
    ]
