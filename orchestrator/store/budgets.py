"""What counts against a batch's budget, and against the account's daily and monthly caps (UTC)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import ROUND_CEILING, Decimal
from typing import Any, Literal

from sqlalchemy import Connection, Date, func, literal_column, select, text

from orchestrator.base.money import ZERO, canonical
from orchestrator.base.payments import Payment, Unit
from orchestrator.store.tables import accounts, usages

#: What a cap is set in: the account's own unit, or dollars (which are that of a USDC account, under another name).
CapUnit = Literal["credits", "usdc", "usd"]
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
#: The finest amount that the store keeps.
_FINEST = Decimal("0.000001")
#: The share of a limit from which on it is worth a word.
NEAR = Decimal("0.8")


@dataclass(slots=True)
class Cap:
    """One limit of an account. `used` counts what is spent, lost, reserved and in doubt in the window that runs.

    The window ends when the UTC day `ends` begins. `payment` is how the account pays (None: a sandbox of its own).
    """

    window: Window
    unit: CapUnit
    amount: Decimal
    used: Decimal
    ends: date
    payment: Payment | None = Payment.CREDITS

    @property
    def left(self) -> Decimal:
        """What may still be reserved; below zero where more was charged than was estimated, or the cap was lowered."""
        return self.amount - self.used

    @property
    def is_near(self) -> bool:
        """Whether most of it is used."""
        return self.used >= NEAR * self.amount

    def lacks(self, amount: Decimal, usd_rate: Decimal) -> Decimal:
        """What is missing, in the cap's unit, to reserve so much of the account's more; zero or less where it fits."""
        return in_unit(amount, self.unit, usd_rate) - self.left

    def document(self) -> dict[str, Any]:
        """The cap in JSON."""
        return {
            "window": self.window,
            "cap": canonical(self.amount),
            "unit": self.unit,
            "used": canonical(self.used),
            "left": canonical(max(self.left, ZERO)),
            "ends_at": f"{self.ends}T00:00:00Z",
        }


def committed_credits(connection: Connection, batch_id: str, *, fold: bool = True) -> Decimal:
    """Money of a batch, in its account's unit, that is spent, reserved, lost, or in doubt at their worst case.

    `fold`: fold what is read, under the account's lock.
    """
    total, rows = connection.execute(
        select(func.coalesce(func.sum(usages.c.credits), 0), func.count()).where(usages.c.batch_id == batch_id)
    ).one()
    if fold and rows > _MANY_ROWS:
        connection.execute(_FOLD, {"batch": batch_id})
    return Decimal(total)


def account_caps(connection: Connection, account_pk: int) -> list[Cap]:
    """The caps that an account has, with what counts in the day and the month that run now."""
    account = connection.execute(select(accounts, _TODAY.label("today")).where(accounts.c.pk == account_pk)).one()
    set_ones: tuple[tuple[Window, CapUnit | None, Decimal | None], ...] = (
        ("daily", account.daily_unit, account.daily_cap),
        ("monthly", account.monthly_unit, account.monthly_cap),
    )
    caps = []
    for window, kept_unit, amount in set_ones:
        if amount is not None and kept_unit is not None:
            unit: CapUnit = "usdc" if account.unit == Unit.USDC else kept_unit
            begins, ends = bounds(window, account.today)
            used = used_since(connection, account_pk, unit, begins)
            caps.append(Cap(window, unit, amount, used, ends, Payment.of_account(account.account)))
    return caps


def today(connection: Connection) -> date:
    """The UTC day by the database's clock."""
    return connection.execute(select(_TODAY)).scalar_one()


def bounds(window: Window, day: date) -> tuple[date, date]:
    """The UTC days on which the window of `day` begins, and the next one."""
    if window == "daily":
        return day, day + timedelta(days=1)
    first = day.replace(day=1)
    return first, (first + timedelta(days=31)).replace(day=1)


def used_since(connection: Connection, account_pk: int, unit: CapUnit, since: date) -> Decimal:
    """Committed money of an account in the windows from the UTC day `since` on, in its own unit or in dollars."""
    column = usages.c.usd if unit == "usd" else usages.c.credits
    total = select(func.coalesce(func.sum(column), 0)).where(usages.c.account_pk == account_pk, usages.c.day >= since)
    return Decimal(connection.execute(total).scalar_one())


def raise_batch_command(batch_id: str, unit: Unit, enough: Decimal) -> str:
    """The command that sets a batch's budget to so much, in its account's unit."""
    flag = "--credits" if unit is Unit.CREDITS else "--usd"
    return f"orchestrator budget set --batch {batch_id} {flag} {canonical(enough)}"


def raise_command(caps: Sequence[Cap], wants: Sequence[tuple[Decimal, Decimal]]) -> str | None:
    """The command that gives every cap of an account that is too low room for all these amounts more.

    Each is in the account's unit, with what one of that costs in dollars. None: there is room.
    """
    wanted = []
    for cap in caps:
        lacks = sum((in_unit(amount, cap.unit, usd_rate) for amount, usd_rate in wants), -cap.left)
        if lacks > 0:
            wanted.append((cap, (cap.amount + lacks).quantize(_FINEST, ROUND_CEILING)))
    return _set_command(wanted) if wanted else None


def raise_to_command(caps: Sequence[Cap], amount: Decimal) -> str:
    """The command that sets these caps of an account to so much of its own unit."""
    return _set_command([(cap, amount) for cap in caps])


def _set_command(wanted: Sequence[tuple[Cap, Decimal]]) -> str:
    flags = [f"--{cap.window} {canonical(amount)}{cap.unit}" for cap, amount in wanted]
    payment = wanted[0][0].payment if wanted else None
    if payment not in (None, Payment.CREDITS):
        flags.append(f"--payment {payment}")
    return f"orchestrator budget set {' '.join(flags)}"


def in_unit(amount: Decimal, unit: CapUnit, usd_rate: Decimal) -> Decimal:
    """An amount in the account's unit, one of which costs `usd_rate` dollars, in the unit of a cap."""
    return amount * usd_rate if unit == "usd" else amount
