"""The hard caps that a plan is held against, in the unit of whoever pays. Pure."""

from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal

from orchestrator.base.diagnostics import Code
from orchestrator.base.money import canonical, in_words
from orchestrator.base.payments import ATOMIC, USDC_PER_CREDIT, Payment, Unit
from orchestrator.manifest.findings import Findings
from orchestrator.manifest.nodes import Scalar
from orchestrator.manifest.schema import Budget
from orchestrator.planner.pricing import dollars_in_credits


@dataclass(frozen=True, slots=True)
class Limit:
    """A cap beside the manifest's own budget, in the unit of the payment, and what people know it as."""

    amount: Decimal
    words: str


def of_command(max_credits: Decimal | None, payment: Payment) -> Limit | None:
    """The caller's own cap."""
    if max_credits is None:
        return None
    return Limit(_from_credits(max_credits, payment), f"--max-credits {_stated_credits(max_credits, payment)}")


def of_saved_plan(amount: Decimal | None, payment: Payment) -> Limit | None:
    """The least cap that a saved plan was made under."""
    return None if amount is None else Limit(amount, f"the plan's budget of {_bare(amount, payment)}")


def of_budget(budget: Budget, payment: Payment, usd_per_credit: Decimal) -> Decimal | None:
    """The manifest's budget in the unit of `payment`; None where it is in dollars and credits cost none.

    Dollars buy credits in whole tenths, rounded down; a dollar is a USDC.
    """
    if budget.unit == "credits":
        return _from_credits(budget.amount, payment)
    if payment.unit is Unit.USDC:
        return budget.amount.quantize(ATOMIC, ROUND_DOWN)
    return dollars_in_credits(budget.amount, usd_per_credit)


def check_limits(
    amount: Decimal,
    payment: Payment,
    budget: Budget | None,
    cap: Decimal | None,
    limit: Limit | None,
    findings: Findings,
) -> None:
    """Reports the lesser of the budget (`cap` in the unit of `payment`) and the other limit, where `amount` is over."""
    over = f"the estimate is {in_words(amount, payment.unit)}, over"
    if limit is not None and (cap is None or limit.amount < cap):
        if amount > limit.amount:
            message = f"{over} {limit.words}: raise it, or submit fewer jobs"
            findings.error(Code.OVER_BUDGET, Scalar(None, 1, 1), message)
    elif budget is not None and cap is not None and amount > cap:
        words = _stated_credits(budget.amount, payment) if budget.unit == "credits" else _bare(cap, payment)
        findings.error(Code.OVER_BUDGET, budget.node, f"{over} the budget of {words}", f"budget.{budget.unit}")


def _from_credits(credit_amount: Decimal, payment: Payment) -> Decimal:
    """Credits in the unit of `payment`, at the provider's own price of a credit in USDC."""
    if payment.unit is Unit.CREDITS:
        return credit_amount
    return (credit_amount * USDC_PER_CREDIT).quantize(ATOMIC, ROUND_DOWN)


def _stated_credits(credit_amount: Decimal, payment: Payment) -> str:
    """`100`, or `100 credits (0.52 USDC)` where USDC pays."""
    if payment.unit is Unit.CREDITS:
        return canonical(credit_amount)
    return f"{canonical(credit_amount)} credits ({in_words(_from_credits(credit_amount, payment), payment.unit)})"


def _bare(amount: Decimal, payment: Payment) -> str:
    return canonical(amount) if payment.unit is Unit.CREDITS else in_words(amount, payment.unit)
