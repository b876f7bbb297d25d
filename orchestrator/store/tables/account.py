"""Who pays: accounts, what the provider tells them and how fast it takes their work, and whom wallets pay."""

from datetime import datetime
from decimal import Decimal

from sqlalchemy import CheckConstraint, Column, Float, Index, UniqueConstraint
from sqlmodel import Field

from orchestrator.base.payments import Network, Unit
from orchestrator.store.tables.columns import Row, instant, money, one_of, reference, row_key, table_of


class Account(Row, table=True):
    """Who pays where: a digest of the key, or a wallet, at one provider origin, its caps, and whether the provider is
    there. All amounts of its batches, jobs, submissions and ledger are in its `unit`.

    A cap is an amount of its unit (credits or usd) a UTC day or month. `breaker_opened_at` is set while the provider
    is taken for down, `breaker_closed_at` tells when it last came back; the failures are those in a row, of paid POSTs
    and of polls.
    """

    __table_args__ = (
        UniqueConstraint("origin", "account"),
        CheckConstraint("(daily_cap IS NULL) = (daily_unit IS NULL)", name="daily_whole"),
        CheckConstraint("(monthly_cap IS NULL) = (monthly_unit IS NULL)", name="monthly_whole"),
        CheckConstraint("daily_unit IN ('credits', 'usd') AND monthly_unit IN ('credits', 'usd')", name="unit_known"),
        CheckConstraint("unit IN ('credits', 'usdc')", name="account_unit_known"),
    )
    pk: int = row_key()
    origin: str
    account: str
    unit: str = Field(default=Unit.CREDITS, sa_column_kwargs={"server_default": "credits"})
    daily_cap: Decimal | None = money(nullable=True)
    daily_unit: str | None = None
    monthly_cap: Decimal | None = money(nullable=True)
    monthly_unit: str | None = None
    breaker_failures: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    breaker_poll_failures: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    breaker_opened_at: datetime | None = instant()
    breaker_probe_at: datetime | None = instant()
    breaker_closed_at: datetime | None = instant()


class Pace(Row, table=True):
    """A limit that an account met with one model (`model` "": with all of them), learned from the provider's answers.

    `room` is how many jobs may be at the provider at once (while `recovering` from an outage: how many POSTs may be
    under way), `rate` how many POSTs a second (null: no limit seen), `tokens` how many of them may leave now, as of
    `filled_at`. `throttles` are the refusals in a row that the pause grows with.
    """

    account_pk: int = reference("account.pk", key=True)
    model: str = Field(primary_key=True)
    room: float = Field(sa_column=Column(Float(), nullable=False))
    recovering: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})
    rate: float | None = Field(default=None, sa_column=Column(Float(), nullable=True))
    tokens: float = Field(sa_column=Column(Float(), nullable=False))
    filled_at: datetime = instant(nullable=False)
    paused_until: datetime | None = instant()
    throttles: int = 0


class Reading(Row, table=True):
    """A balance the provider told. `quiet`: nothing of ours was open at the provider from before it was asked for
    until it was stored, so that only others can have moved it.
    """

    __table_args__ = (Index("ix_reading_account", "account_pk", "at"),)
    pk: int = row_key()
    account_pk: int = reference("account.pk")
    at: datetime = instant(nullable=False)
    credits: Decimal = money()
    quiet: bool


class Payee(Row, table=True):
    """Whom an origin's payments go to on a network: pinned when it was first seen, and never changed by an answer."""

    __table_args__ = (one_of("network", Network),)
    origin: str = Field(primary_key=True)
    network: str = Field(primary_key=True)
    address: str
    pinned_at: datetime = instant(nullable=False)


accounts = table_of(Account)
paces = table_of(Pace)
readings = table_of(Reading)
payees = table_of(Payee)
