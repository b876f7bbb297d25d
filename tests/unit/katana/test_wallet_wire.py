"""What the provider says of a wallet's balance, whole and in every broken form: reading it never raises."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.katana.wallet_wire import Movement, read_top_up, read_wallet_balance, read_wallet_transactions

FIELDS = ["amount_usdc", "amount", "type", "id", "request_id", "created_at", "transaction", "balance_usdc"]
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["1e999999", "NaN", "-"])
)
OBJECTS = st.dictionaries(st.sampled_from(FIELDS) | st.text(), SCALARS | st.lists(SCALARS, max_size=2), max_size=6)


def body(document: Any) -> bytes:
    return json.dumps(document).encode()


@given(st.lists(OBJECTS, max_size=4), OBJECTS)
def test_any_list_of_objects_is_read(entries: list[dict[str, Any]], other: dict[str, Any]) -> None:
    told = read_wallet_transactions(body({"transactions": entries}))
    assert told is not None
    assert len(told) == len(entries)
    read_wallet_balance(body(other))
    read_top_up(body(other))


@pytest.mark.parametrize("document", [{}, [], {"transactions": {}}, {"transactions": ["x"]}, {"transactions": None}])
def test_what_is_no_list_of_objects_is_not_read(document: Any) -> None:
    assert read_wallet_transactions(body(document)) is None


def test_a_transaction_is_read() -> None:
    entry = {
        "id": "t-1",
        "type": "Top-Up",
        "amount_usdc": "1.50",
        "request_id": None,
        "created_at": "2026-11-23T04:00:00Z",
        "transaction": "0xabc",
    }
    told = read_wallet_transactions(body({"transactions": [entry]}))
    assert told is not None
    assert (told[0].type, told[0].amount, told[0].transaction) == (Movement.TOP_UP, Decimal("1.5"), "0xabc")
    assert told[0].created_at is not None


@pytest.mark.parametrize("amount", ["-0.05", "0.05", -0.05, "+0.05"])
def test_the_size_of_an_amount_counts(amount: Any) -> None:
    told = read_wallet_transactions(body({"transactions": [{"type": "debit", "amount": amount}]}))
    assert told is not None
    assert told[0].amount == Decimal("0.05")


def test_unix_seconds_are_an_instant() -> None:
    told = read_wallet_transactions(body({"transactions": [{"created_at": 1778711400}]}))
    assert told is not None
    assert told[0].created_at is not None
    assert told[0].created_at.year == 2026


@pytest.mark.parametrize(
    ("document", "balance"),
    [
        ({"balance_usdc": "1.5"}, Decimal("1.5")),
        ({"balance": 2}, Decimal(2)),
        ({}, None),
        ({"balance_usdc": "x"}, None),
    ],
)
def test_a_balance_is_read(document: Any, balance: Decimal | None) -> None:
    assert read_wallet_balance(body(document)) == balance


def test_a_top_up_is_told_by_what_it_credited() -> None:
    assert read_top_up(body({"credited_usdc": "1.00"})).is_told
    assert not read_top_up(body({"status": "ok"})).is_told
    assert not read_top_up(body({"status": "pending", "balance_usdc": "1.00"})).is_told
    assert not read_top_up(b"<html>").is_told


@pytest.mark.parametrize(
    ("document", "is_ours"),
    [
        ({"credited_usdc": "1.00"}, True),
        ({"credited_usdc": "1.00", "wallet_address": "0xAB"}, True),
        ({"credited_usdc": "1.00", "wallet_address": "0xCD"}, False),
        ({"credited_usdc": "0.99"}, False),
    ],
)
def test_a_credit_is_of_our_wallet_and_no_less_than_was_asked_for(document: Any, is_ours: bool) -> None:
    assert read_top_up(body(document)).is_of("0xab", Decimal(1)) == is_ours
