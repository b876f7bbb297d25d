"""Reading the ledger for people and scripts: its entries, and sums of them.

A sum of a book is what was moved into it less what was moved away in the days that are asked for.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, case, func, select, true

from orchestrator.base.payments import Unit
from orchestrator.base.states import Book
from orchestrator.store.paid import PAYMENT_COLUMNS
from orchestrator.store.tables import accounts, jobs, ledger, payments

#: Rows that are fetched at once where there may be very many.
_ROWS_AT_ONCE = 5000
#: The books that are shown; what is available is the provider's to say.
BOOKS = (Book.RESERVED, Book.IN_DOUBT, Book.SPENT, Book.LOST)
_UTC_DAY = func.date(func.timezone("UTC", ledger.c.at))


@dataclass(frozen=True, slots=True)
class Selection:
    """Which entries: of some accounts or a batch (None: of all), and of which UTC days, both included."""

    account_pks: Sequence[int] | None = None
    batch_id: str | None = None
    first: date | None = None
    last: date | None = None

    def condition(self) -> ColumnElement[bool]:
        conditions: list[ColumnElement[bool]] = [true()]
        if self.account_pks is not None:
            conditions.append(ledger.c.account_pk.in_(self.account_pks))
        if self.batch_id is not None:
            conditions.append(ledger.c.batch_id == self.batch_id)
        if self.first is not None:
            conditions.append(ledger.c.at >= begin_of(self.first))
        if self.last is not None:
            conditions.append(ledger.c.at < begin_of(self.last + timedelta(days=1)))
        return and_(*conditions)


def begin_of(day: date) -> datetime:
    """The first instant of a UTC day."""
    return datetime.combine(day, time(), UTC)


def count_entries(connection: Connection, selection: Selection) -> int:
    """How many entries are selected."""
    query = select(func.count()).select_from(ledger).where(selection.condition())
    return int(connection.execute(query).scalar_one())


def entries(connection: Connection, selection: Selection, newest: int | None = None) -> Iterator[Any]:
    """The selected entries, each with its `unit`, its job and its submission's payment, the newest last; only the
    last `newest` of them where that is given.

    They are fetched as they are read: any number takes little memory.
    """
    wanted = select(ledger).where(selection.condition())
    if newest is not None:
        wanted = wanted.order_by(ledger.c.pk.desc()).limit(newest)
    entry = wanted.subquery("entry")
    query: Select[Any] = (
        select(entry, accounts.c.unit, jobs.c.name.label("job"), jobs.c.model, jobs.c.labels, *PAYMENT_COLUMNS)
        .join(accounts, accounts.c.pk == entry.c.account_pk)
        .join(jobs, jobs.c.pk == entry.c.job_pk)
        .outerjoin(payments, payments.c.submission_id == entry.c.submission_id)
        .order_by(entry.c.pk)
    )
    yield from connection.execute(query, execution_options={"yield_per": _ROWS_AT_ONCE})


@dataclass(frozen=True, slots=True)
class Sums:
    """What the entries of a group moved into each book, by unit, and in dollars at each entry's own rate."""

    group: str | None
    entries: int
    credits: dict[Book, Decimal]
    usdc: dict[Book, Decimal]
    usd: dict[Book, Decimal]

    def of(self, unit: Unit) -> dict[Book, Decimal]:
        """The sums of the accounts of one unit."""
        return self.credits if unit is Unit.CREDITS else self.usdc


def sums_by(connection: Connection, selection: Selection, by: str) -> list[Sums]:
    """The sums by `day` (UTC, of the entry), `model` or `label.NAME`; None groups the jobs without such a label."""
    group = _group(by)
    rows = connection.execute(
        select(group.label("key"), func.count().label("entries"), *_book_columns())
        .join(jobs, jobs.c.pk == ledger.c.job_pk)
        .join(accounts, accounts.c.pk == ledger.c.account_pk)
        .where(selection.condition())
        .group_by(group)
        .order_by(group.asc().nulls_last())
    )
    return [_sums(None if row.key is None else str(row.key), row) for row in rows]


def _group(by: str) -> ColumnElement[Any]:
    if by == "day":
        return _UTC_DAY
    if by == "model":
        return jobs.c.model
    label: ColumnElement[Any] = jobs.c.labels[by.removeprefix("label.")].astext
    return label


def sums_of(connection: Connection, selection: Selection) -> Sums:
    """The sums of all selected entries together."""
    query = select(func.count().label("entries"), *_book_columns())
    query = query.join(accounts, accounts.c.pk == ledger.c.account_pk).where(selection.condition())
    return _sums(None, connection.execute(query).one())


def _book_columns() -> Iterator[ColumnElement[Any]]:
    for book in BOOKS:
        amount = case((ledger.c.to_book == book, ledger.c.amount), (ledger.c.from_book == book, -ledger.c.amount))
        for unit in Unit:
            of_unit = func.sum(amount).filter(accounts.c.unit == unit)
            yield func.coalesce(of_unit, 0).label(f"{book}_{unit}")
        yield func.coalesce(func.sum(amount * ledger.c.usd_per_credit), 0).label(f"{book}_usd")


def _sums(group: str | None, row: Any) -> Sums:
    values = row._mapping
    return Sums(
        group,
        row.entries,
        *({book: Decimal(values[f"{book}_{what}"]) for book in BOOKS} for what in (*Unit, "usd")),
    )
