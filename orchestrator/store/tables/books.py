"""Where the money is: movements between books, and what the caps count."""

from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Column, Date, Index, text
from sqlmodel import Field

from orchestrator.base.states import Book, EntryKind
from orchestrator.store.tables.columns import CURRENT_ACTOR, Row, instant, money, one_of, reference, row_key, table_of


class LedgerEntry(Row, table=True):
    """One movement of money (in the account's unit) from one book to another, for one job of one submission. Rows are
    only ever added.

    `day` is the UTC day on which the job's reserve was made: whatever becomes of it counts in that day's and
    month's window. `usd_per_credit` is the price of a credit at that time.
    """

    __tablename__ = "ledger"
    __table_args__ = (
        one_of("kind", EntryKind),
        one_of("from_book", Book),
        one_of("to_book", Book),
        CheckConstraint("amount > 0", name="amount_positive"),
        CheckConstraint("from_book <> to_book", name="books_differ"),
        Index("ix_ledger_submission", "submission_id", "job_pk"),
        Index("ix_ledger_batch", "batch_id"),
        Index("ix_ledger_account_at", "account_pk", "at"),
        Index("ix_ledger_lost", "batch_id", postgresql_where=text("from_book = 'lost' OR to_book = 'lost'")),
    )
    pk: int = row_key()
    at: datetime = instant(nullable=False)
    day: date = Field(sa_column=Column(Date(), nullable=False))
    account_pk: int = reference("account.pk")
    batch_id: str = reference("batch.id")
    submission_id: UUID = reference("submission.id")
    job_pk: int = reference("job.pk")
    kind: str
    from_book: str
    to_book: str
    amount: Decimal = money()
    usd_per_credit: Decimal = money()
    actor: str | None = Field(default=None, sa_column_kwargs={"server_default": CURRENT_ACTOR})


class Usage(Row, table=True):
    """Committed money (reserved, in doubt, spent, lost) of a batch and of a day: the sum of its rows.

    A trigger adds a row for what each statement on the ledger changes, and a claim folds them: exact at all times,
    and no row that two workers would have to wait for.
    """

    __table_args__ = (Index("ix_usage_account", "account_pk", "day"), Index("ix_usage_batch", "batch_id"))
    pk: int = row_key()
    account_pk: int = Field(sa_column=Column(BigInteger(), nullable=False))
    batch_id: str
    day: date = Field(sa_column=Column(Date(), nullable=False))
    credits: Decimal = money()
    usd: Decimal = money()


ledger = table_of(LedgerEntry)
usages = table_of(Usage)
