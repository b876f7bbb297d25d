"""Setting caps and budgets, and showing what they have left. Each change is made under the account's row lock."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, select, update

from orchestrator.base.errors import UsageError
from orchestrator.base.money import ZERO, canonical, in_words, optional_canonical
from orchestrator.base.payments import Unit
from orchestrator.base.states import HoldCode
from orchestrator.store.accounts import lock_account
from orchestrator.store.budgets import CapUnit, Window, account_caps, bounds, committed_credits, today, used_since
from orchestrator.store.money_holds import told_holds
from orchestrator.store.tables import accounts, batches, holds
from orchestrator.store.units import account_unit, batch_unit

WINDOWS: tuple[Window, ...] = ("daily", "monthly")


@dataclass(frozen=True, slots=True)
class Limit:
    """An amount that may be committed in a window."""

    amount: Decimal
    unit: CapUnit


def set_caps(connection: Connection, account_pk: int, limits: Mapping[Window, Limit | None]) -> None:
    """Set the caps of the windows that are named; None takes a cap away."""
    lock_account(connection, account_pk)
    values: dict[str, Decimal | str | None] = {}
    for window, limit in limits.items():
        values[f"{window}_cap"] = None if limit is None else limit.amount
        values[f"{window}_unit"] = None if limit is None else "credits" if limit.unit == "credits" else "usd"
    connection.execute(update(accounts).where(accounts.c.pk == account_pk).values(values))


@dataclass(frozen=True, slots=True)
class BatchBudget:
    """What a batch may cost in its `unit`, and what one of that costs in dollars; `budget` None: no limit."""

    batch_id: str
    account_pk: int
    budget: Decimal | None
    usd_per_credit: Decimal
    unit: Unit


def batch_budget(connection: Connection, batch_id: str) -> BatchBudget:
    """The budget of an existing batch."""
    columns = (batches.c.id, batches.c.account_pk, batches.c.budget, batches.c.usd_per_credit)
    row = connection.execute(select(*columns).where(batches.c.id == batch_id)).one()
    return BatchBudget(*row, unit=batch_unit(connection, batch_id))


def set_batch_budget(connection: Connection, batch: BatchBudget, budget: Decimal) -> Decimal:
    """Raise or lower the budget of a batch, in its unit, and return what is committed. Raises UsageError below that."""
    lock_account(connection, batch.account_pk)
    committed = committed_credits(connection, batch.batch_id)
    if budget < committed:
        raise UsageError(
            f"{in_words(committed, batch.unit)} of {batch.batch_id} are spent, reserved or in doubt already: its "
            f"budget cannot be {canonical(budget)}",
            hint="to send nothing more: orchestrator pause, or cancel",
        )
    connection.execute(update(batches).where(batches.c.id == batch.batch_id).values(budget=budget))
    return committed


def budget_document(connection: Connection, account_pk: int) -> dict[str, Any]:
    """The `budget show` document of an account: each window with its cap and use, and the batches held for money."""
    caps = {cap.window: cap for cap in account_caps(connection, account_pk)}
    unit = account_unit(connection, account_pk)
    document: dict[str, Any] = {}
    for window in WINDOWS:
        begins, ends = bounds(window, today(connection))
        cap = caps.get(window)
        document[window] = {
            "cap": None if cap is None else canonical(cap.amount),
            "unit": None if cap is None else cap.unit,
            "left": None if cap is None else canonical(max(cap.left, ZERO)),
            "used": in_units(
                unit,
                used_since(connection, account_pk, unit.value, begins),
                used_since(connection, account_pk, "usd", begins),
            ),
            "begins_at": f"{begins}T00:00:00Z",
            "ends_at": f"{ends}T00:00:00Z",
        }
    return document | {"held": held_for_money(connection, account_pk)}


def in_units(unit: Unit, amount: Decimal, usd: Decimal) -> dict[str, str]:
    """An amount in JSON, in its unit and in dollars; an account of USDC has no credits."""
    if unit is Unit.CREDITS:
        return {"credits": canonical(amount), "usd": canonical(usd)}
    return {"credits": "0", "usd": canonical(usd), "usdc": canonical(amount)}


def held_for_money(connection: Connection, account_pk: int) -> list[dict[str, Any]]:
    """The batches of an account that a cap or their own budget holds, the longest held first."""
    query = (
        select(batches.c.id, batches.c.budget)
        .join(holds, holds.c.batch_id == batches.c.id)
        .where(batches.c.account_pk == account_pk, holds.c.code == HoldCode.BUDGET_REACHED)
        .order_by(holds.c.since, batches.c.id)
    )
    return [
        {"batch": row.id, "budget": optional_canonical(row.budget), "message": hold.message, "command": hold.command}
        for row in connection.execute(query).all()
        for hold in told_holds(connection, row.id)
        if hold.code is HoldCode.BUDGET_REACHED
    ]
