"""What a list of transactions proves about money in doubt, and that anything else proves nothing."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest

from orchestrator.engine.wallet_evidence import (
    SKEW,
    contradicts,
    echoes,
    is_whole,
    late_acceptances,
    strangers,
    uncharged,
    unexplained,
)
from orchestrator.katana.wallet_wire import WalletTransaction
from orchestrator.katana.wire import Answer
from orchestrator.store.doubts import POST_SECONDS, SETTLING_SECONDS, Doubt

SENT_AT = datetime(2026, 11, 23, 4, tzinfo=UTC)
RIPE_AT = SENT_AT + timedelta(seconds=POST_SECONDS + SETTLING_SECONDS)
ITEM = {"type": "image", "model": "gen", "prompt": "A mug", "aspect_ratio": "1:1"}


def doubt(amount: str = "0.0156", after: float = 0) -> Doubt:
    return Doubt(uuid4(), "batch", Decimal(amount), SENT_AT + timedelta(seconds=after))


def entry(
    kind: str | None = "debit", amount: str | None = "0.0156", request: str | None = "r-1", after: float | None = 1
) -> WalletTransaction:
    at = None if after is None else (SENT_AT + timedelta(seconds=after)).isoformat()
    return WalletTransaction.model_validate(
        {"type": kind, "amount_usdc": amount, "request_id": request, "created_at": at}
    )


def test_a_charge_that_is_alone_in_question_fits() -> None:
    one = doubt()
    assert late_acceptances([one], [entry()]) == [(one, "r-1")]


@pytest.mark.parametrize(
    ("doubts", "unknown"),
    [
        ([doubt()], []),
        ([doubt()], [entry(amount="0.0157")]),
        ([doubt()], [entry(after=-SKEW.total_seconds() - 1)]),
        ([doubt()], [entry(), entry(request="r-2")]),
        ([doubt()], [entry(), entry(request="r-2", amount=None)]),
        ([doubt()], [entry(request=None)]),
        ([doubt()], [entry(after=None)]),
        ([doubt()], [entry(kind=None)]),
        ([doubt(), doubt()], [entry()]),
        ([doubt(), doubt(after=60)], [entry(), entry(request="r-2", after=61)]),
    ],
)
def test_what_may_be_another_fits_nothing(doubts: list[Doubt], unknown: list[WalletTransaction]) -> None:
    assert late_acceptances(doubts, unknown) == []


def test_different_amounts_are_told_apart() -> None:
    one, other = doubt(), doubt("0.02")
    found = late_acceptances([one, other], [entry(), entry(amount="0.02", request="r-2")])
    assert found == [(one, "r-1"), (other, "r-2")]


def test_only_charges_for_requests_of_others_are_strangers() -> None:
    told = [entry(), entry(request="r-2"), entry("top_up", request=None), entry("refund", request="r-3"), entry(None)]
    assert strangers(told, {"r-1"}) == [told[1]]
    assert strangers([entry("debit", request=None), entry(None, request="r-9")], {"r-1"}) == [
        entry("debit", request=None),
        entry(None, request="r-9"),
    ]


def test_nothing_was_charged_where_no_charge_is_unknown_since() -> None:
    one = doubt()
    assert uncharged([one], [], RIPE_AT) == [one]


def test_clocks_that_are_hours_apart_hide_no_charge() -> None:
    assert uncharged([doubt()], [entry(after=-7200)], RIPE_AT) == []


def test_a_charge_that_is_proven_otherwise_explains_one_of_its_amount() -> None:
    told = [entry(), entry(request="r-2"), entry(amount="9"), entry(amount=None)]
    assert unexplained(told, [Decimal("0.0156"), Decimal(1)]) == told[1:]
    assert unexplained(told, []) == told


def test_a_charge_since_contradicts_a_balance_at_rest() -> None:
    assert contradicts([doubt()], [entry(amount="9")])
    assert not contradicts([doubt()], [entry(after=-SKEW.total_seconds() - 1)])


@pytest.mark.parametrize(
    ("unknown", "early"), [([], 0.1), ([entry()], 0), ([entry(after=None)], 0), ([entry(amount="9")], 0)]
)
def test_it_takes_time_and_no_unknown_charge(unknown: list[WalletTransaction], early: float) -> None:
    assert uncharged([doubt()], unknown, RIPE_AT - timedelta(seconds=early)) == []


def test_a_whole_list_adds_up_to_the_balance() -> None:
    told = [entry("top_up", "5", None), entry(), entry("refund", "0.0056"), entry("debit", "1", "r-2")]
    assert is_whole(told, Decimal("3.99"))
    assert not is_whole(told[1:], Decimal("3.99"))
    assert not is_whole(told, Decimal("3.98"))
    assert not is_whole([*told, entry(None, "0", "r-3")], Decimal("3.99"))
    assert not is_whole([*told, entry("debit", "0", after=None)], Decimal("3.99"))


@pytest.mark.parametrize(
    ("told", "is_same"),
    [
        ([ITEM], True),
        ([{"prompt": "A mug"}], True),
        ([ITEM | {"model": "Gen", "image_urls": ["https://x"]}], True),
        ([ITEM | {"prompt": "A cup"}], False),
        ([ITEM | {"aspect_ratio": "9:16"}], False),
        ([{"type": "image"}], False),
        ([ITEM, ITEM], False),
        ([], False),
    ],
)
def test_a_request_tells_its_items(told: list[dict[str, Any]], is_same: bool) -> None:
    assert echoes(Answer.model_validate({"requests": told}), [ITEM]) == is_same
