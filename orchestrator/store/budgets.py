"""What may still be reserved: a batch's budget, and the account's daily and monthly caps (UTC).

Read and used only under the account's row lock, so that whatever runs at the same time cannot pass a cap.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import ROUND_CEILING, Decimal
from typing import Any, Literal

from sqlalchemy import Connection, Date, func, literal_column, select, text

from orchestrator.base.money import ZERO, canonical, in_words
from orchestrator.base.notices import NoticeEvent
from orchestrator.base.payments import Payment, Unit
from orchestrator.base.states import HoldCode, JobState
from orchestrator.store import outbox
from orchestrator.store.holds import put_hold
from orchestrator.store.tables import accounts, jobs, usages
from orchestrator.store.units import account_unit

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
#: The share of a cap from which on it is worth a word.
_NEAR = Decimal("0.8")


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
        return self.used >= _NEAR * self.amount

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


def committed_credits(connection: Connection, batch_id: str) -> Decimal:
    """Money of a batch, in its account's unit, that is spent, reserved, lost, or in doubt at their worst case.

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


class Purse:
    """What one claim may reserve. It counts what it has granted, so that several batches share the caps."""

    def __init__(self, connection: Connection, account_pk: int) -> None:
        self._connection = connection
        self._account_pk = account_pk
        self._unit = account_unit(connection, account_pk)
        self._caps = account_caps(connection, account_pk)
        self._committed: dict[str, Decimal] = {}
        self._granted: defaultdict[str, Decimal] = defaultdict(Decimal)

    def affordable(self, batch: Any, rows: Sequence[Any]) -> Sequence[Any]:
        """The first rows (with `price`) that fit; the batch is held at the first one that does not.

        `batch` has `id`, `budget` (None: none) and `usd_per_credit`. A job that costs nothing always fits. Whoever
        wants to know is told of a limit that is nearly reached.
        """
        fitting = self._fitting(batch, rows)
        if rows:
            self._note_near_limits(batch)
        return fitting

    def _fitting(self, batch: Any, rows: Sequence[Any]) -> Sequence[Any]:
        for number, row in enumerate(rows):
            if row.price <= 0:
                continue
            left = self._left_of(batch)
            if left is not None and row.price > left:
                self._hold_for_budget(batch, row, left)
                return rows[:number]
            passed = next((cap for cap in self._caps if cap.lacks(row.price, batch.usd_per_credit) > 0), None)
            if passed is not None:
                self._hold_for_cap(batch, row, passed)
                return rows[:number]
            self._granted[batch.id] += row.price
            for cap in self._caps:
                cap.used += in_unit(row.price, cap.unit, batch.usd_per_credit)
        return rows

    def _note_near_limits(self, batch: Any) -> None:
        """Once for each amount that a limit is set to."""
        left = self._left_of(batch)
        if left is not None and left < batch.budget and batch.budget - left >= _NEAR * batch.budget:
            self._note_near(batch, f"budget:{batch.id}", "batch", self._unit.value, batch.budget, batch.budget - left)
        for cap in self._caps:
            if cap.used > 0 and cap.is_near:
                occasion = f"cap:{self._account_pk}:{cap.window}:{cap.ends}:{cap.unit}"
                self._note_near(batch, occasion, cap.window, cap.unit, cap.amount, cap.used)

    def _note_near(self, batch: Any, occasion: str, kind: str, unit: str, amount: Decimal, used: Decimal) -> None:
        limit = {"kind": kind, "unit": unit, "amount": canonical(amount), "used": canonical(used)}
        occasion = f"{occasion}:{limit['amount']}"
        outbox.note(self._connection, batch.id, NoticeEvent.BUDGET, occasion, {"limit": limit})

    def _left_of(self, batch: Any) -> Decimal | None:
        if batch.id not in self._committed:  # also without a budget: it folds the rows that the caps are summed from
            self._committed[batch.id] = committed_credits(self._connection, batch.id)
        if batch.budget is None:
            return None
        return Decimal(batch.budget - self._committed[batch.id] - self._granted[batch.id])

    def _hold_for_budget(self, batch: Any, row: Any, left: Decimal) -> None:
        message = (
            f"job {row.name} needs {in_words(row.price, self._unit)}, {canonical(row.price - left)} more than the "
            f"budget of {canonical(batch.budget)} has left"
        )
        enough = max(batch.budget - left + self._unsent(batch), batch.budget)
        command = raise_batch_command(batch.id, self._unit, enough)
        put_hold(self._connection, batch.id, HoldCode.BUDGET_REACHED, message, command)

    def _hold_for_cap(self, batch: Any, row: Any, cap: Cap) -> None:
        needed, missing = in_unit(row.price, cap.unit, batch.usd_per_credit), cap.lacks(row.price, batch.usd_per_credit)
        message = (
            f"job {row.name} needs {in_words(needed, cap.unit)}, {canonical(missing)} more than the "
            f"{cap.window} cap of {in_words(cap.amount, cap.unit)} has left"
        )
        command = raise_command(self._caps, self._unsent(batch), batch.usd_per_credit)
        put_hold(self._connection, batch.id, HoldCode.BUDGET_REACHED, message, command)

    def _unsent(self, batch: Any) -> Decimal:
        """What the jobs cost that are not sent yet and not granted just now: a hold's command is enough for all."""
        price = func.coalesce(jobs.c.price, jobs.c.estimate)
        total = select(func.coalesce(func.sum(price), 0)).where(
            jobs.c.batch_id == batch.id, jobs.c.state.in_([JobState.PENDING, JobState.WAITING])
        )
        return Decimal(self._connection.execute(total).scalar_one() - self._granted[batch.id])


def raise_batch_command(batch_id: str, unit: Unit, enough: Decimal) -> str:
    """The command that sets a batch's budget to so much, in its account's unit."""
    flag = "--credits" if unit is Unit.CREDITS else "--usd"
    return f"orchestrator budget set --batch {batch_id} {flag} {canonical(enough)}"


def raise_command(caps: Sequence[Cap], amount: Decimal, usd_rate: Decimal) -> str:
    """The command that gives every cap of an account that is too low room for so much more, in its unit."""
    wanted = []
    for cap in caps:
        lacks = cap.lacks(amount, usd_rate)
        if lacks > 0:
            wanted.append((cap, (cap.amount + lacks).quantize(_FINEST, ROUND_CEILING)))
    return _set_command(wanted)


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
