"""The tables: every fact of the orchestrator lives in one of these rows.

SQLModel tables do not validate; rows are filled from validated values. Checks, triggers and the transition
table that guard them are made by the migrations.
"""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, cast
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Numeric,
    Table,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from orchestrator.base.states import BatchState, HoldCode, JobState, SubmissionState

#: Credits and US dollars: exact, six decimals are enough for both and for USDC.
MONEY = Numeric(20, 6)


def _instant(*, nullable: bool = True) -> Any:
    return Field(default=None, sa_column=Column(DateTime(timezone=True), nullable=nullable))


def _json(*, nullable: bool = False) -> Any:
    return Field(default=None, sa_column=Column(JSONB(none_as_null=True), nullable=nullable))


def _money(*, nullable: bool = False) -> Any:
    return Field(default=None, sa_column=Column(MONEY, nullable=nullable))


def _key() -> Any:
    return Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))


def _reference(target: str, *, nullable: bool = False, key: bool = False) -> Any:
    return Field(default=None, sa_column=Column(ForeignKey(target), nullable=nullable, primary_key=key))


def _one_of(column: str, words: type[StrEnum]) -> CheckConstraint:
    listed = ", ".join(f"'{word}'" for word in words)
    return CheckConstraint(f"{column} IN ({listed})", name=f"{column}_known")


def _due(name: str, state: str, *columns: str) -> Index:
    """A partial index in the order in which rows of one state are claimed."""
    return Index(name, *columns, postgresql_where=text(f"state = '{state}'"))


class Account(SQLModel, table=True):
    """Who pays where: a digest of the key at one provider origin, and how fast we may go there."""

    __table_args__ = (UniqueConstraint("origin", "account"),)
    pk: int = _key()
    origin: str
    account: str
    paused_until: datetime | None = _instant()
    throttles: int = 0


class CatalogRow(SQLModel, table=True):
    """A catalogue that priced at least one batch."""

    __tablename__ = "catalog"
    digest: str = Field(primary_key=True)
    source: str
    fetched_at: datetime = _instant(nullable=False)
    document: dict[str, Any] = _json()


class Batch(SQLModel, table=True):
    """One run of a manifest."""

    __table_args__ = (
        _one_of("state", BatchState),
        CheckConstraint(
            "(finished_at IS NOT NULL) = (state IN ('completed', 'partial_failure', 'failed', 'cancelled'))",
            name="finished_iff_ended",
        ),
    )
    id: str = Field(primary_key=True)
    name: str = Field(index=True)
    state: str
    sandbox: bool
    account_pk: int = _reference("account.pk")
    destination: str
    media: str
    key: str
    bundle: int
    labels: dict[str, str] = _json()
    manifest: str
    catalog_digest: str = _reference("catalog.digest")
    estimated: Decimal = _money()
    budget: Decimal | None = _money(nullable=True)
    usd_per_credit: Decimal = _money()
    index_due: bool = False
    created_at: datetime = _instant(nullable=False)
    finished_at: datetime | None = _instant()


class Hold(SQLModel, table=True):
    """Why a batch cannot go on by itself, and what a person can do."""

    __table_args__ = (_one_of("code", HoldCode),)
    batch_id: str = _reference("batch.id", key=True)
    code: str = Field(primary_key=True)
    since: datetime = _instant(nullable=False)
    message: str
    command: str


class Submission(SQLModel, table=True):
    """One paid POST of ours; `due_at` is its next poll."""

    __table_args__ = (
        _one_of("state", SubmissionState),
        UniqueConstraint("account_pk", "request_id"),
        CheckConstraint("state <> 'accepted' OR request_id IS NOT NULL", name="accepted_has_request_id"),
        CheckConstraint("state <> 'sent' OR body_sha256 IS NOT NULL", name="sent_has_body"),
        CheckConstraint("(lease_token IS NULL) = (lease_owner IS NULL)", name="lease_whole"),
        Index("ix_submission_batch", "batch_id"),
        _due("ix_submission_poll_due", "accepted", "due_at"),
        Index("ix_submission_leased", "lease_until", postgresql_where=text("lease_token IS NOT NULL")),
    )
    id: UUID = Field(primary_key=True)
    batch_id: str = _reference("batch.id")
    account_pk: int = _reference("account.pk")
    state: str
    reserved: Decimal = _money()
    charged: Decimal | None = _money(nullable=True)
    body_sha256: str | None = None
    request_id: str | None = None
    provider_status: str | None = None
    answer: dict[str, Any] | None = _json(nullable=True)
    polls: int = 0
    poll_failures: int = 0
    not_found_since: datetime | None = _instant()
    due_at: datetime | None = _instant()
    lease_token: UUID | None = None
    lease_owner: int | None = None
    lease_until: datetime | None = _instant()
    created_at: datetime = _instant(nullable=False)
    sent_at: datetime | None = _instant()
    accepted_at: datetime | None = _instant()
    ended_at: datetime | None = _instant()


class Job(SQLModel, table=True):
    """One item of a manifest; `due_at` is when it may be sent or copied next."""

    __table_args__ = (
        _one_of("state", JobState),
        UniqueConstraint("batch_id", "name"),
        UniqueConstraint("batch_id", "ordinal"),
        CheckConstraint(
            "(submission_id IS NOT NULL) OR state NOT IN "
            "('submitting', 'generating', 'copying', 'completed', 'in_doubt')",
            name="paid_has_submission",
        ),
        CheckConstraint("(lease_token IS NULL) = (lease_owner IS NULL)", name="lease_whole"),
        CheckConstraint("state NOT IN ('failed', 'rejected') OR error IS NOT NULL", name="failure_has_error"),
        Index("ix_job_submission", "submission_id"),
        Index("ix_job_batch_state", "batch_id", "state"),
        Index("ix_job_in_flight", "account_pk", postgresql_where=text("state IN ('submitting', 'generating')")),
        _due("ix_job_submit_due", "pending", "batch_id", "due_at", "pk"),
        _due("ix_job_copy_due", "copying", "source_expires_at", "pk"),
        Index("ix_job_leased", "lease_until", postgresql_where=text("lease_token IS NOT NULL")),
    )
    pk: int = _key()
    batch_id: str = _reference("batch.id")
    account_pk: int = _reference("account.pk")
    ordinal: int
    name: str
    type: str
    model: str
    item: dict[str, Any] = _json()
    labels: dict[str, str] = _json()
    estimate: Decimal = _money()
    state: str
    attempts: int = 0
    submission_id: UUID | None = _reference("submission.id", nullable=True)
    position: int | None = None
    spent: Decimal | None = _money(nullable=True)
    error: dict[str, Any] | None = _json(nullable=True)
    copy_failures: int = 0
    copy_error: str | None = None
    source_expires_at: datetime | None = _instant()
    due_at: datetime = _instant(nullable=False)
    lease_token: UUID | None = None
    lease_owner: int | None = None
    lease_until: datetime | None = _instant()
    ended_at: datetime | None = _instant()


class Asset(SQLModel, table=True):
    """One file of a finished job; stored when `stored_at` is set. `source_url` may carry a signature: never show it."""

    __table_args__ = (
        UniqueConstraint("job_pk", "position", "role"),
        CheckConstraint("stored_at IS NULL OR (uri IS NOT NULL AND sha256 IS NOT NULL)", name="stored_is_whole"),
    )
    pk: int = _key()
    job_pk: int = _reference("job.pk")
    position: int
    role: str
    kind: str
    source_url: str
    source_expires_at: datetime | None = _instant()
    declared_mime: str | None = None
    tags: list[dict[str, Any]] = _json()
    key: str | None = None
    uri: str | None = None
    sha256: str | None = None
    bytes: int | None = Field(default=None, sa_column=Column(BigInteger, nullable=True))
    mime_type: str | None = None
    width: int | None = None
    height: int | None = None
    duration_seconds: float | None = None
    stored_at: datetime | None = _instant()


class Event(SQLModel, table=True):
    """Every transition of a batch, job or submission, written by trigger."""

    pk: int = _key()
    at: datetime = _instant(nullable=False)
    batch_id: str = Field(index=True)
    entity: str
    entity_id: str
    from_state: str | None = None
    to_state: str
    actor: str | None = None


class Transition(SQLModel, table=True):
    """One allowed change of state; the trigger that writes events refuses all others."""

    entity: str = Field(primary_key=True)
    from_state: str = Field(primary_key=True)
    to_state: str = Field(primary_key=True)


def table_of(row: type[SQLModel]) -> Table:
    """The SQLAlchemy table behind a row class, for Core statements."""
    return cast(Table, row.__table__)  # type: ignore[attr-defined]  # set by SQLModel's metaclass


accounts = table_of(Account)
catalogs = table_of(CatalogRow)
batches = table_of(Batch)
holds = table_of(Hold)
submissions = table_of(Submission)
jobs = table_of(Job)
assets = table_of(Asset)
events = table_of(Event)
transitions = table_of(Transition)
