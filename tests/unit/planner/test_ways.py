"""What each way to pay would cost, by the sample in the guide."""

from collections.abc import Callable
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.base.payments import Payment
from orchestrator.catalog.bundled import bundled_catalog
from orchestrator.catalog.models import Catalog
from orchestrator.planner.plan import Plan
from orchestrator.planner.result import PlannedJob
from orchestrator.planner.ways import count_requests, ways_to_pay

CATALOG = bundled_catalog()
RATE = Decimal("0.0052")


def job(number: int, model: str = "gpt-image-2", type_: str = "image") -> PlannedJob:
    return PlannedJob(number, f"job-{number}", type_, model, {}, {}, Decimal(14), fingerprint=f"fp1:{number}")


def usd(jobs: list[PlannedJob], bundle: int = 1, rate: Decimal = RATE) -> dict[Payment, Decimal]:
    ways = ways_to_pay(jobs, bundle=bundle, catalog=CATALOG, usd_per_credit=rate)
    return {way.payment: way.usd for way in ways}


def test_settlement_is_paid_by_request_or_once() -> None:
    assert usd([job(n) for n in range(10)]) == {
        Payment.CREDITS: Decimal("0.728"),
        Payment.WALLET_SOLANA: Decimal("0.7295"),
        Payment.WALLET_BASE: Decimal("0.731938"),
        Payment.X402_SOLANA: Decimal("0.743"),
        Payment.X402_BASE: Decimal("0.76738"),
    }
    assert usd([job(n) for n in range(10)], bundle=4)[Payment.X402_BASE] == Decimal("0.728") + 3 * Decimal("0.003938")


def test_the_cheapest_is_first_at_ones_own_price_of_a_credit() -> None:
    assert next(iter(usd([job(0)]))) is Payment.CREDITS
    assert next(iter(usd([job(0)], rate=Decimal("0.01")))) in (Payment.X402_SOLANA, Payment.WALLET_SOLANA)


def test_requests_are_of_one_model_and_a_text_is_alone() -> None:
    jobs = [job(0), job(1), job(2), job(3, "gen"), job(4, "some-text", "text"), job(5, "some-text", "text")]
    assert count_requests(jobs, 2) == 2 + 1 + 2
    assert count_requests(jobs, 100) == 1 + 1 + 2


def test_nothing_and_models_without_usdc() -> None:
    assert ways_to_pay([], bundle=1, catalog=CATALOG, usd_per_credit=RATE) == ()
    without = CATALOG.models["gpt-image-2"].model_copy(update={"x402": False})
    catalog = Catalog(source="test", fetched_at="2026-01-01T00:00:00Z", models={"gpt-image-2": without})
    assert [way.payment for way in ways_to_pay([job(0)], bundle=1, catalog=catalog, usd_per_credit=RATE)] == ["credits"]


@given(count=st.integers(1, 60), bundle=st.integers(1, 100))
def test_a_top_up_is_never_dearer_than_a_payment_each_request(count: int, bundle: int) -> None:
    found = usd([job(n) for n in range(count)], bundle)
    assert found[Payment.WALLET_BASE] <= found[Payment.X402_BASE]
    assert found[Payment.WALLET_SOLANA] <= found[Payment.X402_SOLANA]


@pytest.mark.parametrize("payment", list(Payment))
def test_a_plan_tells_them_and_which_is_chosen(plan_text: Callable[..., Plan], payment: Payment) -> None:
    jobs = "jobs: [{id: a, type: image, model: gen, prompt: A mug, aspect_ratio: '1:1'}]"
    told = plan_text(f"version: 1\nname: t\npayment: {payment}\n{jobs}\n").document()["payments"]
    assert [entry["payment"] for entry in told if entry["chosen"]] == [payment]
    assert {entry["payment"] for entry in told} == {one.value for one in Payment}
    assert told == sorted(told, key=lambda entry: Decimal(entry["usd"]))
    assert set(told[0]) == {"payment", "usd", "settlement_usd", "requests", "chosen"}
