"""One run of a manifest, the catalogue that priced it, and what holds it."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import CheckConstraint, Column, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field

from orchestrator.base.payments import Payment
from orchestrator.base.states import BatchState, HoldCode
from orchestrator.store.tables.columns import (
    SHARE,
    Row,
    document,
    due_index,
    instant,
    money,
    one_of,
    reference,
    table_of,
)


class CatalogRow(Row, table=True):
    """A catalogue that priced at least one batch."""

    __tablename__ = "catalog"
    digest: str = Field(primary_key=True)
    source: str
    fetched_at: datetime = instant(nullable=False)
    document: dict[str, Any] = document()


class Batch(Row, table=True):
    """One run of a manifest.

    `estimated` and `budget` are in the account's unit, and `usd_per_credit` is the price of one of it in dollars (1
    where it is USDC); `work_credits` is the catalogue's price in credits, null where that is `estimated`.
    `submit_key` makes a repeated `submit --key` find it; `notify` are the manifest's own entries. A
    `partial` one is about a part of its collection only.
    """

    __table_args__ = (
        one_of("state", BatchState),
        CheckConstraint(
            "(finished_at IS NOT NULL) = (state IN ('completed', 'partial_failure', 'failed', 'cancelled'))",
            name="finished_iff_ended",
        ),
        UniqueConstraint("account_pk", "submit_key"),
        one_of("payment", Payment),
        due_index("ix_batch_running", "running", "account_pk"),
    )
    id: str = Field(primary_key=True)
    name: str = Field(index=True)
    state: str
    sandbox: bool
    account_pk: int = reference("account.pk")
    payment: str = Field(default=Payment.CREDITS, sa_column_kwargs={"server_default": "credits"})
    destination: str
    media: str
    key: str
    bundle: int
    labels: dict[str, str] = document()
    manifest: str
    catalog_digest: str = reference("catalog.digest")
    estimated: Decimal = money()
    work_credits: Decimal | None = money(nullable=True)
    budget: Decimal | None = money(nullable=True)
    usd_per_credit: Decimal = money()
    price_tolerance: Decimal | None = Field(default=None, sa_column=Column(SHARE, nullable=True))
    canary: int | None = None
    stop_when_failed_over: Decimal | None = Field(default=None, sa_column=Column(SHARE, nullable=True))
    forgiven_failed: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    forgiven_ended: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    cancelled_at: datetime | None = instant()
    submit_key: str | None = None
    partial: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})
    notify: list[dict[str, Any]] = Field(
        default_factory=list, sa_column=Column(JSONB(), nullable=False, server_default=text("'[]'"))
    )
    index_due: bool = False
    created_at: datetime = instant(nullable=False)
    finished_at: datetime | None = instant()


class Hold(Row, table=True):
    """Why a batch cannot go on by itself, and what a person can do."""

    __table_args__ = (one_of("code", HoldCode),)
    batch_id: str = reference("batch.id", key=True)
    code: str = Field(primary_key=True)
    since: datetime = instant(nullable=False)
    message: str
    command: str
    #: Whether the batch sends nothing new under it.
    blocking: bool = Field(default=True, sa_column_kwargs={"server_default": "true"})


catalogs = table_of(CatalogRow)
batches = table_of(Batch)
holds = table_of(Hold)
