"""Reading the ledger: entries, sums, and an account's month against balance readings."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import insert, text

from orchestrator.base.states import Book
from orchestrator.store import entries, statements
from orchestrator.store.database import Database
from orchestrator.store.entries import Selection
from orchestrator.store.statements import Statement
from orchestrator.store.tables import ledger, readings

from .store_rows import account, make_batch, put_submission

BATCH = "things-20261122-0001"
NOVEMBER = date(2026, 11, 1)


def instant(text_: str) -> datetime:
    return datetime.fromisoformat(f"2026-{text_}:00").replace(tzinfo=UTC)


class Books:
    """An account whose balance is read and whose credits move at chosen instants."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.account_pk = account(database)
        make_batch(database, jobs=1)

    def read(self, at: str, balance: str, *, quiet: bool = True) -> None:
        with self.database.begin() as connection:
            values = {"account_pk": self.account_pk, "at": instant(at), "credits": Decimal(balance), "quiet": quiet}
            connection.execute(insert(readings).values(values))

    def spend(self, at: str, amount: str, *, sent_at: str | None = None, book: Book = Book.SPENT) -> None:
        """What a submission sent at `sent_at` (None: then, too) was charged or lost, booked at `at`."""
        with self.database.begin() as connection:
            job_pk = connection.execute(text("SELECT pk FROM job")).scalar_one()
            submission_id = put_submission(
                connection, BATCH, self.account_pk, "resolved", sent_at=instant(sent_at or at), charged=Decimal(amount)
            )
            ways = [(Book.AVAILABLE, Book.RESERVED, "reserve"), (Book.RESERVED, Book.SPENT, "charge")]
            if book is not Book.SPENT:
                ways[1:] = [(Book.RESERVED, Book.IN_DOUBT, "doubt")]
            if book is Book.LOST:
                ways.append((Book.IN_DOUBT, Book.LOST, "loss"))
            for source, target, kind in ways:
                values: dict[str, Any] = {
                    "at": instant(at),
                    "day": instant(at).date(),
                    "account_pk": self.account_pk,
                    "batch_id": BATCH,
                    "submission_id": submission_id,
                    "job_pk": job_pk,
                    "kind": kind,
                    "from_book": source,
                    "to_book": target,
                    "amount": Decimal(amount),
                    "usd_per_credit": Decimal("0.0052"),
                }
                connection.execute(insert(ledger).values(values))

    def november(self) -> Statement:
        with self.database.begin() as connection:
            return statements.statement(connection, self.account_pk, NOVEMBER)


@pytest.fixture
def books(database: Database) -> Books:
    return Books(database)


def test_a_month_with_charges_and_a_top_up_adds_up(books: Books) -> None:
    books.read("10-31T20:00", "1000")
    books.spend("10-31T22:00", "10")
    books.spend("11-02T10:00", "14")
    books.read("11-02T12:00", "976")
    books.read("11-03T12:00", "1476")  # someone topped up
    books.spend("11-04T10:00", "100")
    books.spend("11-04T11:00", "3", book=Book.LOST)
    books.read("11-05T12:00", "1373")
    books.spend("11-20T10:00", "5")
    month = books.november()
    assert month.opening == 990
    assert [rise for _, rise in month.top_ups] == [500]
    assert (month.moved.credits[Book.SPENT], month.moved.credits[Book.LOST]) == (119, 3)
    assert month.moved.usd[Book.SPENT] == Decimal("0.6188")
    assert month.closing == 1368
    assert month.told is not None
    assert (month.told.credits, month.after, month.unexplained) == (1373, 5, 0)


def test_what_others_spend_is_left_unexplained(books: Books) -> None:
    books.read("11-01T00:00", "1000")
    books.spend("11-02T10:00", "14")
    books.read("11-03T00:00", "900")
    month = books.november()
    assert (month.opening, month.closing, month.unexplained) == (1000, 986, -86)
    assert month.top_ups == []


def test_money_in_doubt_is_told_apart_and_is_no_top_up_when_it_is_written_off(books: Books) -> None:
    books.read("11-01T00:00", "1000")
    books.spend("11-02T10:00", "14", book=Book.IN_DOUBT)
    books.read("11-03T00:00", "986")
    month = books.november()
    assert (month.standing.credits[Book.IN_DOUBT], month.unexplained) == (14, -14)
    books.spend("11-05T10:00", "14", sent_at="11-02T10:00", book=Book.LOST)
    books.read("11-06T00:00", "986")
    month = books.november()
    assert (month.top_ups, month.closing, month.unexplained) == ([], 986, 0)


def test_a_charge_that_is_booked_late_is_no_top_up(books: Books) -> None:
    books.read("11-01T00:00", "1000")
    books.read("11-02T10:30", "986", quiet=False)
    books.spend("11-02T11:00", "14", sent_at="11-02T10:00")
    books.read("11-03T00:00", "986")
    month = books.november()
    assert (month.top_ups, month.unexplained) == ([], 0)


def test_the_first_month_begins_with_its_first_reading(books: Books) -> None:
    books.spend("11-02T10:00", "14")
    books.read("11-03T00:00", "100")
    month = books.november()
    assert (month.opening, month.closing, month.unexplained) == (114, 100, None)
    books.spend("11-04T00:00", "10")
    books.read("11-05T00:00", "90")
    assert books.november().unexplained == 0


def test_without_a_reading_there_is_no_balance(books: Books) -> None:
    books.spend("11-02T10:00", "14")
    month = books.november()
    assert (month.opening, month.closing, month.told, month.unexplained) == (None, None, None, None)
    assert month.moved.credits[Book.SPENT] == 14


def test_a_reading_before_the_month_only(books: Books) -> None:
    books.read("10-20T00:00", "100")
    books.spend("11-02T10:00", "14")
    month = books.november()
    assert (month.opening, month.closing, month.told, month.unexplained) == (100, 86, None, None)


def test_noisy_readings_serve_where_there_is_no_quiet_one(books: Books) -> None:
    books.read("11-01T00:00", "100", quiet=False)
    books.spend("11-02T10:00", "14")
    books.read("11-03T00:00", "86", quiet=False)
    assert books.november().unexplained == 0
    books.read("11-04T00:00", "85")
    month = books.november()
    assert month.opened_by is not None
    assert month.opened_by.quiet


def test_december_and_other_accounts_are_left_out(database: Database, books: Books) -> None:
    books.read("11-30T23:59", "100")
    books.spend("12-01T00:00", "14")
    books.read("12-01T00:01", "86")
    month = books.november()
    assert (month.closing, month.moved.entries) == (100, 0)
    other = account(database, "credits:other")
    with database.begin() as connection:
        assert statements.accounts_with_money(connection, date(2026, 12, 1)) == [books.account_pk]
        empty = statements.statement(connection, other, NOVEMBER)
    assert (empty.opening, empty.moved.entries) == (None, 0)


def test_sums_by_day_model_and_label(database: Database, books: Books) -> None:
    books.spend("11-02T23:59", "14")
    books.spend("11-03T00:00", "10", book=Book.LOST)
    with database.begin() as connection:
        connection.execute(text('UPDATE job SET labels = \'{"season": "spring"}\''))
        by_day = entries.sums_by(connection, Selection(), "day")
        assert [(row.group, row.credits[Book.SPENT], row.credits[Book.LOST]) for row in by_day] == [
            ("2026-11-02", 14, 0),
            ("2026-11-03", 0, 10),
        ]
        one_day = Selection(first=date(2026, 11, 2), last=date(2026, 11, 2))
        assert [row.entries for row in entries.sums_by(connection, one_day, "model")] == [2]
        assert entries.count_entries(connection, one_day) == 2
        assert [row.group for row in entries.sums_by(connection, Selection(), "label.season")] == ["spring"]
        assert [row.group for row in entries.sums_by(connection, Selection(), "label.'; --")] == [None]
        total = entries.sums_of(connection, Selection(batch_id=BATCH))
        assert (total.credits[Book.RESERVED], total.usd[Book.LOST]) == (0, Decimal("0.052"))


def test_entries_come_in_order_and_the_newest_are_the_last(database: Database, books: Books) -> None:
    for number in range(1, 4):
        books.spend("11-02T10:00", str(number))
    with database.begin() as connection:
        everything = list(entries.entries(connection, Selection()))
        newest = list(entries.entries(connection, Selection(), 3))
    assert [row.amount for row in everything] == [1, 1, 2, 2, 3, 3]
    assert [row.pk for row in newest] == [row.pk for row in everything[-3:]]
    assert everything[0].job == "job-0"
