"""What each item cost, however the provider says it."""

from decimal import Decimal
from typing import Any

import pytest

from orchestrator.engine.answers import read_outcomes
from orchestrator.engine.charges import item_charges
from orchestrator.katana.wire import Answer

FILES = {"output_assets": [{"kind": "image", "url": "https://a/b.png"}]}
TEN = Decimal(10)


def answer(status: str, *items: dict[str, Any], total: str | None = None) -> Answer:
    metadata = {} if total is None else {"credits_spent": total}
    return Answer.model_validate({"status": status, "responses": list(items), "metadata": metadata})


def charged(amount: str) -> dict[str, Any]:
    return {"metadata": {"credits_spent": amount}}


def charges(told: Answer, count: int, *, final: bool = True) -> dict[int, Decimal | None]:
    return item_charges(told, [(position, TEN) for position in range(count)], final=final)


def test_an_items_own_figure_counts() -> None:
    assert charges(answer("completed", charged("3"), charged("4"), total="99"), 2) == {0: Decimal(3), 1: Decimal(4)}


def test_a_total_speaks_for_an_item_that_is_alone() -> None:
    assert charges(answer("processing", {}, total="3"), 1, final=False) == {0: Decimal(3)}


@pytest.mark.parametrize("total", ["0", "10", "13.5", "20", "30", "45"])
def test_shares_of_a_final_total_add_up_to_it(total: str) -> None:
    told = answer("partial_failure", {"error": "no"}, FILES, FILES, total=total)
    shares = charges(told, 3)
    assert sum(share for share in shares.values() if share) == Decimal(total)
    assert (shares[0] or 0) <= (shares[1] or 0)


def test_a_failed_item_of_a_refunded_bundle_cost_nothing() -> None:
    assert charges(answer("partial_failure", {"error": "no"}, FILES, total="10"), 2) == {0: Decimal(0), 1: TEN}


def test_a_total_that_is_not_final_is_waited_for() -> None:
    told = answer("processing", FILES | {"status": "completed"}, {"status": "processing"}, total="10")
    assert charges(told, 2, final=False) == {}
    assert read_outcomes(told, [(0, TEN), (1, TEN)], patience_over=False) == []


def test_where_nothing_is_said_at_the_end_nothing_is_known() -> None:
    assert charges(answer("completed", FILES, FILES), 2) == {0: None, 1: None}


def test_a_partial_failure_without_the_items_words_is_read_by_what_they_show() -> None:
    told = answer("partial_failure", {"error": {"message": "no"}}, FILES, {}, total="10")
    outcomes = read_outcomes(told, [(position, TEN) for position in range(3)], patience_over=False)
    assert {outcome.position: str(outcome.state) for outcome in outcomes} == {0: "failed", 1: "copying"}
