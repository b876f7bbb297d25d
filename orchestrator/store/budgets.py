"""What may still be reserved: a batch's budget, and the account's daily and monthly caps (UTC).

Read and used only under the account's row lock, so that whatever runs at the same time cannot pass a cap.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, Literal

from sqlalchemy import Connection, Date, func, literal_column, select, text

from orchestrator.base.money import canonical
from orchestrator.base.states import HoldCode
from orchestrator.store.holds import put_hold
from orchestrator.store.tables import accounts, usages

Unit = Literal["credits", "usd"]
Window = Literal["daily", "monthly"]

#: Rows of one batch in `usage` from which on they are folded.
_MANY_ROWS = 64
_FOLD = text(
    """
    WITH gone AS (DELETE FROM usage WHERE batch_id = :batch RETURNING account_pk, batch_id, day, credits, usd)
    INSERT INTO usage (account_pk, batch_id, day, credits, usd)
    SELECT account_pk, batch_id, day, sum(credits), sum(usd) FROM gone GROUP BY account_pk, batch_id, day
    """
)
_TODAY = literal_column("(orchestrator_now() AT TIME ZONE 'UTC')::date", Date())


@dataclass(slots=True)
class Cap:
    """One limit of an account. `used` counts what is spent, lost, reserved and in doubt in the window that runs."""

    window: Window
    unit: Unit
    amount: Decimal
    used: Decimal

    @property
    def left(self) -> Decimal:
        """What may still be reserved; below zero where more was charged than was estimated."""
        return self.amount - self.used


def committed_credits(connection: Connection, batch_id: str) -> Decimal:
    """Credits of a batch that are spent, reserved, lost, or in doubt at their worst case.

    Call it under the account's lock: it folds what it has read.
    """
    total, rows = connection.execute(
        select(func.coalesce(func.sum(usages.c.credits), 0), func.count()).where(usages.c.batch_id == batch_id)
    ).one()
    if rows > _MANY_ROWS:
        connection.execute(_FOLD, {"batch": batch_id})
    return Decimal(total)


def account_caps(connection: Connection, account_pk: int) -> list[Cap]:
    """The caps that an account has, with what counts in the day and the month that run now."""
    account = connection.execute(select(accounts, _TODAY.label("today")).where(accounts.c.pk == account_pk)).one()
    set_ones: tuple[tuple[Window, Unit | None, Decimal | None, date], ...] = (
        ("daily", account.daily_unit, account.daily_cap, account.today),
        ("monthly", account.monthly_unit, account.monthly_cap, account.today.replace(day=1)),
    )
    return [
        Cap(window, unit, amount, used_since(connection, account_pk, unit, since))
        for window, unit, amount, since in set_ones
        if amount is not None and unit is not None
    ]


def used_since(connection: Connection, account_pk: int, unit: Unit, since: date) -> Decimal:
    """Committed money of an account in the windows from the UTC day `since` on, in credits or dollars."""
    column = usages.c.credits if unit == "credits" else usages.c.usd
    total = select(func.coalesce(func.sum(column), 0)).where(usages.c.account_pk == account_pk, usages.c.day >= since)
    return Decimal(connection.execute(total).scalar_one())


class Purse:
    """What one claim may reserve. It counts what it has granted, so that several batches share the caps."""

    def __init__(self, connection: Connection, account_pk: int) -> None:
        self._connection = connection
        self._caps = account_caps(connection, account_pk)

    def affordable(self, batch: Any, rows: Sequence[Any]) -> Sequence[Any]:
        """The first rows (with `price`) that fit; the batch is held at the first one that does not.

        `batch` has `id`, `budget` (None: none) and `usd_per_credit`. A job that costs nothing always fits.
        """
        left = None if batch.budget is None else batch.budget - committed_credits(self._connection, batch.id)
        for number, row in enumerate(rows):
            if row.price <= 0:
                continue
            if left is not None and row.price > left:
                self._hold_for_budget(batch, row, row.price - left)
                return rows[:number]
            passed = self._passed_cap(row.price, batch.usd_per_credit)
            if passed is not None:
                self._hold_for_cap(batch, row, passed)
                return rows[:number]
            left = None if left is None else left - row.price
            for cap in self._caps:
                cap.used += in_unit(row.price, cap.unit, batch.usd_per_credit)
        return rows

    def _passed_cap(self, price: Decimal, usd_per_credit: Decimal) -> Cap | None:
        return next((cap for cap in self._caps if in_unit(price, cap.unit, usd_per_credit) > cap.left), None)

    def _hold_for_budget(self, batch: Any, row: Any, missing: Decimal) -> None:
        message = (
            f"job {row.name} needs {canonical(row.price)} credits, {canonical(missing)} more than the budget has left"
        )
        command = f"orchestrator budget set --batch {batch.id} --credits {canonical(batch.budget + missing)}"
        put_hold(self._connection, batch.id, HoldCode.BUDGET_REACHED, message, command)

    def _hold_for_cap(self, batch: Any, row: Any, cap: Cap) -> None:
        needed = in_unit(row.price, cap.unit, batch.usd_per_credit)
        message = (
            f"job {row.name} needs {canonical(needed)} {cap.unit}, {canonical(needed - cap.left)} more than the "
            f"{cap.window} cap of {canonical(cap.amount)} {cap.unit} has left"
        )
        command = f"orchestrator budget set --{cap.window} {canonical(cap.amount + needed - cap.left)}{cap.unit}"
        put_hold(self._connection, batch.id, HoldCode.BUDGET_REACHED, message, command)


def in_unit(credit_amount: Decimal, unit: Unit, usd_per_credit: Decimal) -> Decimal:
    """An amount of credits in the unit of a cap."""
    return credit_amount if unit == "credits" else credit_amount * usd_per_credit
