"""An account's month: what it began with, what came and went, and whether the provider says the same at its end."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

from sqlalchemy import Connection, and_, case, func, literal_column, or_, select, true

from orchestrator.base.money import ZERO
from orchestrator.base.payments import Payment, Unit, settlement_share
from orchestrator.base.states import Book, EntryKind, PaymentState
from orchestrator.store.entries import Selection, Sums, begin_of, sums_of
from orchestrator.store.tables import accounts, batches, jobs, ledger, payments, readings, submissions

_COSTS = (Book.SPENT, Book.LOST)
#: What an entry adds to what was spent or lost.
_COST = case(
    (ledger.c.to_book.in_(_COSTS), ledger.c.amount), (ledger.c.from_book.in_(_COSTS), -ledger.c.amount), else_=0
)


@dataclass(frozen=True, slots=True)
class BalanceReading:
    """A balance that the provider told; `quiet`: nothing of ours was under way meanwhile."""

    at: datetime
    credits: Decimal
    quiet: bool


@dataclass(frozen=True, slots=True)
class Statement:
    """What moved an account in a month, between the instants `begins` and `ends`; amounts are in its `unit`.

    `opening` is the balance at `begins` as it follows from the reading `opened_by` and our own entries between the
    two. `top_ups` are those that a wallet signed and that have settled; of credits, the rises between readings that our
    charges leave unexplained. `moved` is what the month's entries moved, `fees` how much of the charges was for the
    settlement of direct payments; `standing` what is in each book at its end. `told` is the provider's last word in the
    month, and `after` what we booked after it. None: no reading, or (direct payments) no balance at the provider.
    """

    account: str
    origin: str
    unit: Unit
    begins: datetime
    ends: datetime
    opened_by: BalanceReading | None
    opening: Decimal | None
    top_ups: Sequence[tuple[datetime, Decimal]]
    moved: Sums
    fees: Decimal
    standing: Sums
    told: BalanceReading | None
    after: Decimal

    @property
    def closing(self) -> Decimal | None:
        """The balance at the end by our books."""
        if self.opening is None:
            return None
        return self.opening + sum((rise for _, rise in self.top_ups), ZERO) - _cost(self.moved, self.unit)

    @property
    def unexplained(self) -> Decimal | None:
        """How much more the provider says there is than our books; None where there are no two readings."""
        if self.closing is None or self.told is None or self.told == self.opened_by:
            return None
        return self.told.credits - (self.closing + self.after)

    @property
    def is_closed(self) -> bool:
        """Whether the provider's last word is a second one, and from after all that we booked."""
        return self.unexplained is not None and self.after == 0


def statement(connection: Connection, account_pk: int, month: date) -> Statement:
    """An account's month, which begins on the day `month`."""
    begins, ends = begin_of(month), begin_of((month + timedelta(days=31)).replace(day=1))
    account = connection.execute(select(accounts).where(accounts.c.pk == account_pk)).one()
    unit = Unit(account.unit)
    known = _readings(connection, account_pk, begins, ends)
    opened_by = known[0] if known else None
    told = known[-1] if known and known[-1].at >= begins else None
    return Statement(
        account=account.account,
        origin=account.origin,
        unit=unit,
        begins=begins,
        ends=ends,
        opened_by=opened_by,
        opening=None if opened_by is None else _opening(connection, account_pk, opened_by, begins),
        top_ups=_settled_top_ups(connection, account_pk, begins, ends)
        if unit is Unit.USDC
        else [rise for rise in _rises(connection, account_pk, known) if rise[0] >= begins],
        moved=sums_of(connection, Selection([account_pk], first=month, last=ends.date() - timedelta(days=1))),
        fees=_settlement_fees(connection, account_pk, begins, ends),
        standing=sums_of(connection, Selection([account_pk], last=ends.date() - timedelta(days=1))),
        told=told,
        after=ZERO if told is None else _booked(connection, account_pk, told.at, ends),
    )


def accounts_with_money(connection: Connection, before: date) -> list[int]:
    """The accounts that have an entry or a reading before a day."""
    until = begin_of(before)
    found = select(accounts.c.pk).where(
        or_(
            select(ledger.c.pk).where(ledger.c.account_pk == accounts.c.pk, ledger.c.at < until).exists(),
            select(readings.c.pk).where(readings.c.account_pk == accounts.c.pk, readings.c.at < until).exists(),
        )
    )
    return [int(pk) for pk in connection.execute(found.order_by(accounts.c.pk)).scalars()]


def _readings(connection: Connection, account_pk: int, begins: datetime, ends: datetime) -> list[BalanceReading]:
    """The last reading before the month and those in it, in order. Quiet ones only, where there are any at all."""
    columns = (readings.c.at, readings.c.credits, readings.c.quiet)
    ours = readings.c.account_pk == account_pk
    for quiet in (readings.c.quiet, true()):
        before = select(*columns).where(ours, quiet, readings.c.at < begins).order_by(readings.c.at.desc()).limit(1)
        inside = select(*columns).where(ours, quiet, readings.c.at >= begins, readings.c.at < ends)
        found = [*connection.execute(before), *connection.execute(inside.order_by(readings.c.at, readings.c.pk))]
        if found:
            return [BalanceReading(*row) for row in found]
    return []


def _opening(connection: Connection, account_pk: int, reading: BalanceReading, begins: datetime) -> Decimal:
    """The balance at the month's first instant: the reading, put forward or back by what was booked in between."""
    if reading.at < begins:
        return reading.credits - _booked(connection, account_pk, reading.at, begins)
    return reading.credits + _booked(connection, account_pk, begins, reading.at)


def _booked(connection: Connection, account_pk: int, after: datetime, until: datetime) -> Decimal:
    """What was spent and lost by the entries after one instant, up to another, less what was topped up meanwhile."""
    ours = and_(ledger.c.account_pk == account_pk, ledger.c.at > after, ledger.c.at <= until)
    cost = Decimal(connection.execute(select(func.coalesce(func.sum(_COST), 0)).where(ours)).scalar_one())
    return cost - sum((rise for _, rise in _settled_top_ups(connection, account_pk, after, until)), ZERO)


def _settled_top_ups(
    connection: Connection, account_pk: int, after: datetime, until: datetime
) -> list[tuple[datetime, Decimal]]:
    """When and by how much a wallet's balance was topped up after one instant, up to another."""
    query = select(payments.c.ended_at, payments.c.credited).where(
        payments.c.account_pk == account_pk,
        payments.c.submission_id.is_(None),
        payments.c.state == PaymentState.SETTLED,
        payments.c.ended_at > after,
        payments.c.ended_at <= until,
    )
    return [(row.ended_at, row.credited) for row in connection.execute(query.order_by(payments.c.ended_at))]


def _settlement_fees(connection: Connection, account_pk: int, begins: datetime, ends: datetime) -> Decimal:
    """What direct payments that were charged for in the month cost beyond their work, as it was priced."""
    charged = (
        select(func.sum(ledger.c.amount).label("amount"), jobs.c.estimate, jobs.c.type, batches.c.bundle)
        .join(jobs, jobs.c.pk == ledger.c.job_pk)
        .join(batches, batches.c.id == ledger.c.batch_id)
        .where(
            ledger.c.account_pk == account_pk,
            ledger.c.kind == EntryKind.CHARGE,
            ledger.c.at >= begins,
            ledger.c.at < ends,
            batches.c.payment.in_([payment for payment in Payment if payment.is_direct]),
        )
        .group_by(ledger.c.submission_id, jobs.c.pk, batches.c.bundle)
        .subquery("charged")
    )
    beyond = func.sum(charged.c.amount - charged.c.estimate).label("beyond")
    alike = (charged.c.bundle, charged.c.type)
    rows = connection.execute(select(*alike, beyond, func.count().label("jobs")).group_by(*alike))
    return sum((row.beyond + row.jobs * settlement_share(row.bundle, row.type) for row in rows), ZERO)


def _rises(
    connection: Connection, account_pk: int, known: Sequence[BalanceReading]
) -> Iterator[tuple[datetime, Decimal]]:
    """When and by how much the balance rose beyond our charges. A charge counts from when its POST was sent.

    The provider charges then, while our books learn of it later, and of what was in doubt perhaps days later.
    """
    if len(known) < 2:
        return
    charged_at = func.coalesce(submissions.c.sent_at, ledger.c.at)
    interval = func.width_bucket(charged_at, [reading.at for reading in known])
    costs = {
        row.interval: row.cost
        for row in connection.execute(
            select(interval.label("interval"), func.sum(_COST).label("cost"))
            .join(submissions, submissions.c.id == ledger.c.submission_id)
            .where(ledger.c.account_pk == account_pk, _COST != 0)
            .group_by(literal_column("interval"))
        )
    }
    for number, reading in enumerate(known[1:], start=1):
        rise = reading.credits - known[number - 1].credits + costs.get(number, ZERO)
        if rise > 0:
            yield reading.at, rise


def _cost(sums: Sums, unit: Unit) -> Decimal:
    return sum((sums.of(unit)[book] for book in _COSTS), ZERO)
