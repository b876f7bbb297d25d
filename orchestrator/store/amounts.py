"""How the JSON of batches and jobs tells money: credits, or USDC beside what the work is worth in credits."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from orchestrator.base.money import ZERO, canonical, optional_canonical
from orchestrator.base.payments import Payment, Unit


def batch_amounts(batch: Any, **amounts: Decimal) -> dict[str, Any]:
    """The keys `credits` and `usdc` of a batch (row): one has the `amounts`, between its estimate and its budget.

    Of USDC `credits` tells what the catalogue asks for the work, and nothing else.
    """
    told = {"estimated": batch.estimated, **amounts, "budget": batch.budget}
    return _by_unit(Payment(batch.payment).unit, told, batch.work_credits)


def job_amounts(
    unit: Unit, *, estimated: Decimal, spent: Decimal | None, work_credits: Decimal | None
) -> dict[str, Any]:
    """The keys `credits` and `usdc` of a job; `work_credits` is what the catalogue asks for it, where that differs."""
    return _by_unit(unit, {"estimated": estimated, "spent": spent}, work_credits)


def _by_unit(unit: Unit, told: Mapping[str, Decimal | None], work_credits: Decimal | None) -> dict[str, Any]:
    documents = {name: optional_canonical(amount) for name, amount in told.items()}
    if unit is Unit.CREDITS:
        return {"credits": documents, "usdc": None}
    in_credits: dict[str, str | None] = {name: None if name == "budget" else "0" for name in told}
    return {"credits": in_credits | {"estimated": canonical(work_credits or ZERO)}, "usdc": documents}
