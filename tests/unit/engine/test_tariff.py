"""Charges in the unit of the account: what was paid ahead stands, what a wallet is charged is read as USDC."""

from decimal import Decimal
from typing import Any

import pytest

from orchestrator.base.payments import Payment
from orchestrator.engine.answers import read_outcomes
from orchestrator.engine.tariff import Tariff
from orchestrator.katana.wire import Answer

PRICE = Decimal("0.0156")  # of three credits
ASSETS = [{"kind": "image", "original_data_url": "https://assets.test/a.png"}]


def answer(*items: dict[str, Any], status: str = "completed", **metadata: str) -> Answer:
    responses = [{"output_assets": ASSETS} | item for item in items]
    return Answer.model_validate({"status": status, "responses": responses, "metadata": metadata})


def spent(payment: Payment, told: Answer, *, prices: int = 1, work: bool = True) -> list[tuple[Decimal, bool]]:
    open_items = [(position, PRICE) for position in range(prices)]
    tariff = Tariff(payment, PRICE / 3 if work else None)
    outcomes = read_outcomes(told, open_items, patience_over=False, tariff=tariff)
    return [(outcome.spent, outcome.is_told) for outcome in outcomes]


@pytest.mark.parametrize("status", ["completed", "failed", "rejected"])
@pytest.mark.parametrize("payment", [Payment.X402_BASE, Payment.X402_SOLANA])
def test_a_direct_payment_has_paid_its_price_whatever_becomes_of_it(payment: Payment, status: str) -> None:
    assert spent(payment, answer({"status": status}, status=status)) == [(PRICE, True)]
    assert spent(payment, answer({"status": status, "metadata": {"credits_spent": "0"}})) == [(PRICE, True)]


def test_a_wallet_is_charged_what_is_told_in_usdc() -> None:
    told = answer({"status": "completed", "metadata": {"usdc_spent": "0.0123", "credits_spent": "3"}})
    assert spent(Payment.WALLET_BASE, told) == [(Decimal("0.0123"), True)]


def test_a_wallet_is_charged_what_is_told_in_credits_at_the_rate_of_the_estimate() -> None:
    told = answer({"status": "completed", "metadata": {"credits_spent": "2"}})
    assert spent(Payment.WALLET_SOLANA, told) == [(Decimal("0.0104"), True)]


def test_a_total_is_shared_out_in_usdc() -> None:
    told = answer({"status": "completed"}, {"status": "completed"}, credits_spent="5")
    assert spent(Payment.WALLET_BASE, told, prices=2) == [(PRICE, True), (Decimal("0.0104"), True)]


def test_what_is_not_told_is_counted_at_the_reserve() -> None:
    assert spent(Payment.WALLET_BASE, answer({"status": "completed"})) == [(PRICE, False)]
    untold = answer({"status": "completed", "metadata": {"credits_spent": "3"}})
    assert spent(Payment.WALLET_BASE, untold, work=False) == [(PRICE, False)]


def test_what_was_refunded_to_a_wallet_costs_nothing() -> None:
    told = answer({"status": "failed", "metadata": {"credits_spent": "0"}}, status="failed")
    assert spent(Payment.WALLET_BASE, told) == [(Decimal(0), True)]
