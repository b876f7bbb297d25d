"""What a plan costs where USDC pays: prices, settlement, caps, and what stays the same whoever pays."""

from collections.abc import Callable
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.base.diagnostics import Code
from orchestrator.base.payments import SETTLEMENT_ALLOWANCE, Payment
from orchestrator.catalog.bundled import bundled_catalog
from orchestrator.catalog.models import Catalog, ImageModel, VideoModel
from orchestrator.planner.plan import Plan
from orchestrator.planner.result import PlannedJob
from orchestrator.planner.usdc import amount_of, total_usdc, work_usdc

PlanText = Callable[..., Plan]

CATALOG = bundled_catalog()
IMAGE = CATALOG.models["gpt-image-2"]
VIDEO = CATALOG.models["seedance-2-0"]
SHOP = """
version: 1
name: shop
payment: x402-base
defaults: {type: image, model: gpt-image-2, aspect_ratio: 1:1}
jobs:
  - {id: mug, prompt: A mug}
  - {id: cup, prompt: A cup}
"""
DIRECT = [Payment.X402_BASE, Payment.X402_SOLANA]
WALLETS = [Payment.WALLET_BASE, Payment.WALLET_SOLANA]


def job(number: int, credit_price: Decimal = Decimal(14), type_: str = "image") -> PlannedJob:
    return PlannedJob(number, f"job-{number}", type_, "gpt-image-2", {}, {}, credit_price, fingerprint=f"fp1:{number}")


def paid_by(payment: Payment) -> str:
    return SHOP.replace("x402-base", payment)


@pytest.mark.parametrize("payment", list(Payment))
def test_every_way_of_paying_is_taken(plan_text: PlanText, payment: Payment) -> None:
    plan = plan_text(paid_by(payment))
    assert (plan.valid, plan.payment, plan.document()["payment"]) == (True, payment, payment.value)
    assert plan.document()["estimate"]["credits"] == "28"


@pytest.mark.parametrize("payment", DIRECT)
def test_each_payment_sets_its_settlement_aside(plan_text: PlanText, payment: Payment) -> None:
    document = plan_text(paid_by(payment)).document()
    assert document["usdc"] == {"work": "0.1456", "settlement": "0.02", "total": "0.1656"}
    assert document["estimate"]["usd"] == document["by_model"][0]["usd"] == "0.1656"
    bundled = plan_text(paid_by(payment) + "bundle: 2\n").document()
    assert bundled["usdc"] == {"work": "0.1456", "settlement": "0.01", "total": "0.1556"}


@pytest.mark.parametrize("payment", WALLETS)
def test_a_balance_settles_nothing(plan_text: PlanText, payment: Payment) -> None:
    document = plan_text(paid_by(payment)).document()
    assert document["usdc"] == {"work": "0.1456", "settlement": "0", "total": "0.1456"}


@pytest.mark.parametrize(
    ("budget", "limit", "words"),
    [
        ("{usd: '0.16'}", "0.16", "over the budget of 0.16 USDC"),
        ("{credits: 30}", "0.156", "over the budget of 30 credits (0.156 USDC)"),
    ],
)
def test_budgets_are_held_against_the_usdc(plan_text: PlanText, budget: str, limit: str, words: str) -> None:
    plan = plan_text(
        SHOP + f"budget: {budget}\n", usd_per_credit=Decimal(1)
    )  # one's own price of a credit is no matter
    assert (plan.budget, [error.code for error in plan.errors]) == (Decimal(limit), [Code.OVER_BUDGET])
    assert plan.errors[0].message == f"the estimate is 0.1656 USDC, {words}"
    assert plan_text(SHOP + "budget: {usd: '0.1656'}\n").valid


def test_a_cap_in_credits_is_taken_at_the_providers_price(plan_text: PlanText) -> None:
    plan = plan_text(SHOP, max_credits=Decimal(30))
    assert plan.errors[0].message.endswith(
        ", over --max-credits 30 credits (0.156 USDC): raise it, or submit fewer jobs"
    )
    assert plan_text(SHOP, max_credits=Decimal(32)).budget == Decimal("0.1664")


def test_the_catalogues_own_usdc_price_goes_first() -> None:
    assert isinstance(IMAGE, ImageModel)
    assert isinstance(VIDEO, VideoModel)
    listed = IMAGE.model_copy(update={"usd": Decimal("0.09")})
    assert work_usdc(listed, IMAGE.credits) == Decimal("0.09")
    assert work_usdc(listed, IMAGE.credits + 1) == (IMAGE.credits + 1) * Decimal("0.0052")
    assert work_usdc(IMAGE.model_copy(update={"usd": None}), Decimal("14.00001")) == Decimal("0.072801")  # never less
    video = VIDEO.model_copy(update={"usd_by_duration": {5: Decimal(2), 99: Decimal(9)}})
    assert work_usdc(video, VIDEO.credits_by_duration[5]) == 2
    assert work_usdc(None, Decimal(10)) == Decimal("0.052")


def test_what_is_never_sent_costs_nothing_and_a_text_has_a_payment_of_its_own() -> None:
    never = PlannedJob(0, "never", "image", "gpt-image-2", {}, {}, Decimal(0))
    assert amount_of(never, Payment.X402_BASE, 1, CATALOG) == 0
    text = total_usdc([job(0, type_="text")], Payment.X402_BASE, 100, CATALOG)
    assert text.settlement == SETTLEMENT_ALLOWANCE


@given(
    payment=st.sampled_from(Payment),
    bundle=st.integers(1, 100),
    prices=st.lists(st.decimals(0, 1000, places=1), max_size=20),
)
def test_the_whole_is_the_sum_of_its_jobs(payment: Payment, bundle: int, prices: list[Decimal]) -> None:
    jobs = [job(number, price) for number, price in enumerate(prices)]
    amounts = [amount_of(one, payment, bundle, CATALOG) for one in jobs]
    whole = total_usdc(jobs, payment, bundle, CATALOG)
    assert sum(amounts) == (sum(prices) if payment is Payment.CREDITS else whole.total)
    full = len(jobs) // bundle
    assert payment.is_direct is False or whole.settlement >= full * SETTLEMENT_ALLOWANCE


def test_a_model_that_takes_no_usdc_is_said_once(plan_text: PlanText) -> None:
    without = IMAGE.model_copy(update={"x402": False})
    catalog = Catalog(source="test", fetched_at="2026-01-01T00:00:00Z", models={"gpt-image-2": without})
    plan = plan_text(SHOP, catalog=catalog)
    assert [(error.code, error.line, error.job) for error in plan.errors] == [(Code.UNSUPPORTED_FIELD, 4, "mug")]
    assert plan_text(paid_by(Payment.CREDITS), catalog=catalog).valid


def test_the_payment_is_no_part_of_a_fingerprint(plan_text: PlanText) -> None:
    prints = {tuple(job.fingerprint for job in plan_text(paid_by(payment)).jobs) for payment in Payment}
    assert len(prints) == 1
