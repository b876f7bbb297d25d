"""The tables: every fact of the orchestrator lives in one of these rows.

SQLModel tables do not validate; rows are filled from validated values. Checks, triggers and the transition
table that guard them are made by the migrations.
"""

from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, cast
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Float,
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

from orchestrator.base.payments import Network, Payment, Unit
from orchestrator.base.states import (
    BatchState,
    Book,
    Decision,
    EntryKind,
    Gate,
    HoldCode,
    JobState,
    PaymentState,
    SettledBy,
    SubmissionState,
    WaitsFor,
)

#: Credits, USDC and US dollars: exact, with the six decimals that USDC has.
MONEY = Numeric(20, 6)
#: Who works here, as each connection says it at its start.
CURRENT_ACTOR = text("nullif(current_setting('orchestrator.actor', true), '')")
#: A share of one, such as 0.05 for 5 %.
SHARE = Numeric(7, 6)


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


class _Row(SQLModel):
    """Without pydantic's validators: they would never run, and to build them takes longer than all else here."""

    model_config = {"defer_build": True}


class Account(_Row, table=True):
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
    pk: int = _key()
    origin: str
    account: str
    unit: str = Field(default=Unit.CREDITS, sa_column_kwargs={"server_default": "credits"})
    daily_cap: Decimal | None = _money(nullable=True)
    daily_unit: str | None = None
    monthly_cap: Decimal | None = _money(nullable=True)
    monthly_unit: str | None = None
    breaker_failures: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    breaker_poll_failures: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    breaker_opened_at: datetime | None = _instant()
    breaker_probe_at: datetime | None = _instant()
    breaker_closed_at: datetime | None = _instant()


class Pace(_Row, table=True):
    """A limit that an account met with one model (`model` "": with all of them), learned from the provider's answers.

    `room` is how many jobs may be at the provider at once (while `recovering` from an outage: how many POSTs may be
    under way), `rate` how many POSTs a second (null: no limit seen), `tokens` how many of them may leave now, as of
    `filled_at`. `throttles` are the refusals in a row that the pause grows with.
    """

    account_pk: int = _reference("account.pk", key=True)
    model: str = Field(primary_key=True)
    room: float = Field(sa_column=Column(Float(), nullable=False))
    recovering: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})
    rate: float | None = Field(default=None, sa_column=Column(Float(), nullable=True))
    tokens: float = Field(sa_column=Column(Float(), nullable=False))
    filled_at: datetime = _instant(nullable=False)
    paused_until: datetime | None = _instant()
    throttles: int = 0


class Reading(_Row, table=True):
    """A balance the provider told. `quiet`: nothing of ours was open at the provider from before it was asked for
    until it was stored, so that only others can have moved it.
    """

    __table_args__ = (Index("ix_reading_account", "account_pk", "at"),)
    pk: int = _key()
    account_pk: int = _reference("account.pk")
    at: datetime = _instant(nullable=False)
    credits: Decimal = _money()
    quiet: bool


class CatalogRow(_Row, table=True):
    """A catalogue that priced at least one batch."""

    __tablename__ = "catalog"
    digest: str = Field(primary_key=True)
    source: str
    fetched_at: datetime = _instant(nullable=False)
    document: dict[str, Any] = _json()


class Batch(_Row, table=True):
    """One run of a manifest.

    `estimated` and `budget` are in the account's unit, and `usd_per_credit` is the price of one of it in dollars (1
    where it is USDC); `work_credits` is the catalogue's price in credits, null where that is `estimated`.
    `submit_key` makes a repeated `submit --key` find it; `notify` are the manifest's own entries. A
    `partial` one is about a part of its collection only.
    """

    __table_args__ = (
        _one_of("state", BatchState),
        CheckConstraint(
            "(finished_at IS NOT NULL) = (state IN ('completed', 'partial_failure', 'failed', 'cancelled'))",
            name="finished_iff_ended",
        ),
        UniqueConstraint("account_pk", "submit_key"),
        _one_of("payment", Payment),
        _due("ix_batch_running", "running", "account_pk"),
    )
    id: str = Field(primary_key=True)
    name: str = Field(index=True)
    state: str
    sandbox: bool
    account_pk: int = _reference("account.pk")
    payment: str = Field(default=Payment.CREDITS, sa_column_kwargs={"server_default": "credits"})
    destination: str
    media: str
    key: str
    bundle: int
    labels: dict[str, str] = _json()
    manifest: str
    catalog_digest: str = _reference("catalog.digest")
    estimated: Decimal = _money()
    work_credits: Decimal | None = _money(nullable=True)
    budget: Decimal | None = _money(nullable=True)
    usd_per_credit: Decimal = _money()
    price_tolerance: Decimal | None = Field(default=None, sa_column=Column(SHARE, nullable=True))
    canary: int | None = None
    stop_when_failed_over: Decimal | None = Field(default=None, sa_column=Column(SHARE, nullable=True))
    forgiven_failed: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    forgiven_ended: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    cancelled_at: datetime | None = _instant()
    submit_key: str | None = None
    partial: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})
    notify: list[dict[str, Any]] = Field(
        default_factory=list, sa_column=Column(JSONB(), nullable=False, server_default=text("'[]'"))
    )
    index_due: bool = False
    created_at: datetime = _instant(nullable=False)
    finished_at: datetime | None = _instant()


class Hold(_Row, table=True):
    """Why a batch cannot go on by itself, and what a person can do."""

    __table_args__ = (_one_of("code", HoldCode),)
    batch_id: str = _reference("batch.id", key=True)
    code: str = Field(primary_key=True)
    since: datetime = _instant(nullable=False)
    message: str
    command: str
    #: Whether the batch sends nothing new under it.
    blocking: bool = Field(default=True, sa_column_kwargs={"server_default": "true"})


class Submission(_Row, table=True):
    """One paid POST of ours; `due_at` is its next poll."""

    __table_args__ = (
        _one_of("state", SubmissionState),
        _one_of("settled_by", SettledBy),
        UniqueConstraint("account_pk", "request_id"),
        CheckConstraint("state <> 'accepted' OR request_id IS NOT NULL", name="accepted_has_request_id"),
        CheckConstraint("state <> 'sent' OR body_sha256 IS NOT NULL", name="sent_has_body"),
        CheckConstraint("(lease_token IS NULL) = (lease_owner IS NULL)", name="lease_whole"),
        Index("ix_submission_batch", "batch_id"),
        _due("ix_submission_poll_due", "accepted", "account_pk", "due_at"),
        _due("ix_submission_in_doubt", "unknown", "account_pk", "sent_at"),
        Index("ix_submission_leased", "lease_token", postgresql_where=text("lease_token IS NOT NULL")),
    )
    id: UUID = Field(primary_key=True)
    batch_id: str = _reference("batch.id")
    account_pk: int = _reference("account.pk")
    state: str
    reserved: Decimal = _money()
    charged: Decimal | None = _money(nullable=True)
    settled_by: str | None = None
    evidence: dict[str, Any] | None = _json(nullable=True)
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


class Job(_Row, table=True):
    """One item of a manifest; `due_at` is when it may be sent or copied next.

    `estimate`, `price` and `spent` are in the account's unit; `work_credits` is the catalogue's price in credits, null
    where that is the estimate. `fingerprint` stands for all that determines its result. A reused job has the results of
    `reused_from_pk` and was never sent. `row` are the columns of the row that it was made from. `dependents_due`: its
    end has still to be passed on to the jobs that need it.
    """

    __table_args__ = (
        _one_of("state", JobState),
        _one_of("waits_for", WaitsFor),
        _one_of("gate", Gate),
        UniqueConstraint("batch_id", "name"),
        UniqueConstraint("batch_id", "ordinal"),
        CheckConstraint(
            "(submission_id IS NOT NULL) OR (reused_from_pk IS NOT NULL AND state = 'completed') OR state NOT IN "
            "('submitting', 'generating', 'copying', 'completed', 'in_doubt')",
            name="paid_has_submission",
        ),
        CheckConstraint("(lease_token IS NULL) = (lease_owner IS NULL)", name="lease_whole"),
        CheckConstraint("state NOT IN ('failed', 'rejected') OR error IS NOT NULL", name="failure_has_error"),
        Index("ix_job_submission", "submission_id"),
        Index("ix_job_batch_state", "batch_id", "state"),
        Index("ix_job_fingerprint", "account_pk", "fingerprint"),
        Index(
            "ix_job_dependents_due",
            "batch_id",
            "pk",
            postgresql_where=text(
                "dependents_due AND state IN ('completed', 'failed', 'rejected', 'cancelled', 'skipped')"
            ),
        ),
        Index("ix_job_in_flight", "account_pk", postgresql_where=text("state IN ('submitting', 'generating')")),
        _due("ix_job_submit_due", "pending", "batch_id", "model", "due_at", "pk"),
        Index(
            "ix_job_copy_first",
            "account_pk",
            "source_expires_at",
            "pk",
            postgresql_where=text("state = 'copying' AND copy_failures = 0"),
        ),
        Index(
            "ix_job_copy_again",
            "account_pk",
            "due_at",
            "source_expires_at",
            postgresql_where=text("state = 'copying' AND copy_failures > 0"),
        ),
        Index("ix_job_leased", "lease_token", postgresql_where=text("lease_token IS NOT NULL")),
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
    work_credits: Decimal | None = _money(nullable=True)
    #: What is reserved for it, where a charge has shown that the estimate is wrong, or its request was quoted.
    price: Decimal | None = _money(nullable=True)
    #: What was planned or approved for it, while `price` is its share of a quote.
    agreed: Decimal | None = _money(nullable=True)
    state: str
    waits_for: str | None = None
    fingerprint: str | None = None
    row: dict[str, Any] | None = _json(nullable=True)
    gate: str | None = None
    dependents_due: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})
    reused_from_pk: int | None = Field(default=None, sa_column=Column(BigInteger, ForeignKey("job.pk"), nullable=True))
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


class InFlight(_Row, table=True):
    """The jobs at the provider (submitting or generating), and those of them that are submitting: the sums of its rows.

    A trigger adds a row for what each statement changes alike, and whoever reads many folds them: exact at all times,
    and no row that two workers would have to wait for.
    """

    __tablename__ = "in_flight"
    __table_args__ = (Index("ix_in_flight_account", "account_pk"),)
    pk: int = _key()
    account_pk: int = Field(sa_column=Column(BigInteger(), nullable=False))
    batch_id: str
    model: str
    jobs: int
    submitting: int


class PaymentRow(_Row, table=True):
    """One signed USDC payment: for a submission, or (`submission_id` null) to top up a wallet's balance.

    `signed` is the value of its header: as good as money until it has settled or is void, and null from then on.
    `nonce` identifies it on chain: the authorization's nonce on Base, our owner signature on Solana. It cannot settle
    after `valid_before` (Base, by the chain's clock), or up to the slot `after_slot` and above the block height
    `last_valid_height` (Solana). `credited` is what a top-up adds to the balance, and `told_at` when a person was told
    that it is there; `due_at` when to send it again or to look at the chain next.
    """

    __tablename__ = "payment"
    __table_args__ = (
        _one_of("state", PaymentState),
        _one_of("network", Network),
        CheckConstraint("state = 'signed' OR signed IS NULL", name="signature_removed"),
        CheckConstraint("(submission_id IS NULL) = (credited IS NOT NULL)", name="one_purpose"),
        CheckConstraint("(lease_token IS NULL) = (lease_owner IS NULL)", name="lease_whole"),
        UniqueConstraint("submission_id"),
        UniqueConstraint("network", "nonce"),
        _due("ix_payment_due", "signed", "account_pk", "due_at"),
    )
    id: UUID = Field(primary_key=True)
    account_pk: int = _reference("account.pk")
    submission_id: UUID | None = _reference("submission.id", nullable=True)
    state: str
    network: str
    payer: str
    pay_to: str
    asset: str
    amount: Decimal = _money()
    credited: Decimal | None = _money(nullable=True)
    signed: str | None = None
    nonce: str
    valid_before: datetime | None = _instant()
    last_valid_height: int | None = Field(default=None, sa_column=Column(BigInteger, nullable=True))
    after_slot: int | None = Field(default=None, sa_column=Column(BigInteger, nullable=True))
    sends: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    due_at: datetime | None = _instant()
    lease_token: UUID | None = None
    lease_owner: int | None = None
    lease_until: datetime | None = _instant()
    transaction: str | None = None
    receipt: dict[str, Any] | None = _json(nullable=True)
    evidence: dict[str, Any] | None = _json(nullable=True)
    actor: str | None = Field(default=None, sa_column_kwargs={"server_default": CURRENT_ACTOR})
    created_at: datetime = _instant(nullable=False)
    ended_at: datetime | None = _instant()
    told_at: datetime | None = _instant()


class Payee(_Row, table=True):
    """Whom an origin's payments go to on a network: pinned when it was first seen, and never changed by an answer."""

    __table_args__ = (_one_of("network", Network),)
    origin: str = Field(primary_key=True)
    network: str = Field(primary_key=True)
    address: str
    pinned_at: datetime = _instant(nullable=False)


class JobNeed(_Row, table=True):
    """One job needs another's result, the file of this role: the `from` of a media field."""

    __tablename__ = "job_need"
    __table_args__ = (
        CheckConstraint("role IN ('original', 'final_frame')", name="role_known"),
        Index("ix_job_need_needed", "needed_pk"),
    )
    job_pk: int = _reference("job.pk", key=True)
    needed_pk: int = _reference("job.pk", key=True)
    role: str = Field(primary_key=True)


class Schedule(_Row, table=True):
    """A manifest that is submitted at the slots of a cron expression; `next_at` is the next of them.

    `manifest` is an absolute path or a URI, read afresh each time.
    """

    __table_args__ = (UniqueConstraint("account_pk", "name"),)
    pk: int = _key()
    account_pk: int = _reference("account.pk")
    name: str
    manifest: str
    cron: str
    tz: str
    heartbeat: str | None = None
    paused: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})
    next_at: datetime = _instant(nullable=False)
    created_at: datetime = _instant(nullable=False)


class ScheduleRun(_Row, table=True):
    """One slot of a schedule: whoever inserts the row runs it. `state` is started, submitted, skipped or failed."""

    __tablename__ = "schedule_run"
    __table_args__ = (
        CheckConstraint("state IN ('started', 'submitted', 'skipped', 'failed')", name="state_known"),
        Index("ix_schedule_run_batch", "batch_id"),
    )
    schedule_pk: int = Field(
        sa_column=Column(BigInteger, ForeignKey("schedule.pk", ondelete="CASCADE"), primary_key=True)
    )
    slot: datetime = Field(sa_column=Column(DateTime(timezone=True), primary_key=True))
    state: str
    started_at: datetime = _instant(nullable=False)
    ended_at: datetime | None = _instant()
    batch_id: str | None = _reference("batch.id", nullable=True)
    new_credits: Decimal | None = _money(nullable=True)
    message: str | None = None


class Notification(_Row, table=True):
    """A message to someone's URL, from when it is due until it was taken or given up.

    `id` stands for its URL and its `occasion`, which keeps it single: an index of URLs would not take every URL.
    """

    __table_args__ = (
        Index("ix_notification_due", "due_at", postgresql_where=text("ended_at IS NULL")),
        Index("ix_notification_undelivered", "batch_id", postgresql_where=text("delivered_at IS NULL")),
    )
    id: UUID = Field(primary_key=True)
    account_pk: int = _reference("account.pk")
    batch_id: str | None = _reference("batch.id", nullable=True)
    url: str
    style: str
    event: str
    occasion: str
    body: dict[str, Any] = _json()
    created_at: datetime = _instant(nullable=False)
    due_at: datetime = _instant(nullable=False)
    tries: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    delivered_at: datetime | None = _instant()
    ended_at: datetime | None = _instant()
    error: str | None = None


class Asset(_Row, table=True):
    """One file of a finished job; stored when `stored_at` is set. `source_url` may carry a signature: never show it.

    `content` is the file itself, where it came with the answer (a text); it goes once the file is stored.
    """

    __table_args__ = (
        UniqueConstraint("job_pk", "position", "role"),
        CheckConstraint("stored_at IS NULL OR (uri IS NOT NULL AND sha256 IS NOT NULL)", name="stored_is_whole"),
        CheckConstraint("(source_url <> '') <> (content IS NOT NULL) OR stored_at IS NOT NULL", name="one_source"),
    )
    pk: int = _key()
    job_pk: int = _reference("job.pk")
    position: int
    role: str
    kind: str
    source_url: str
    content: str | None = None
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


class Review(_Row, table=True):
    """What a person decided about the result of a job; of several yes and no, the newest is what holds.

    `asset_sha256` is the hash of its first original, "" where it gave none. `take_key` is the submit key of the batch
    that makes another take: a result is taken anew once, however often the same is asked for.
    """

    __table_args__ = (
        _one_of("decision", Decision),
        CheckConstraint("(decision = 'take') = (take_key IS NOT NULL)", name="take_has_key"),
        Index("ix_review_job", "job_pk", "pk"),
        Index("ix_review_take", "job_pk", "asset_sha256", unique=True, postgresql_where=text("decision = 'take'")),
    )
    pk: int = _key()
    job_pk: int = _reference("job.pk")
    decision: str
    asset_sha256: str
    note: str | None = None
    take_key: str | None = None
    at: datetime = _instant(nullable=False)
    actor: str | None = Field(default=None, sa_column_kwargs={"server_default": CURRENT_ACTOR})


class LedgerEntry(_Row, table=True):
    """One movement of money (in the account's unit) from one book to another, for one job of one submission. Rows are
    only ever added.

    `day` is the UTC day on which the job's reserve was made: whatever becomes of it counts in that day's and
    month's window. `usd_per_credit` is the price of a credit at that time.
    """

    __tablename__ = "ledger"
    __table_args__ = (
        _one_of("kind", EntryKind),
        _one_of("from_book", Book),
        _one_of("to_book", Book),
        CheckConstraint("amount > 0", name="amount_positive"),
        CheckConstraint("from_book <> to_book", name="books_differ"),
        Index("ix_ledger_submission", "submission_id", "job_pk"),
        Index("ix_ledger_batch", "batch_id"),
        Index("ix_ledger_account_at", "account_pk", "at"),
        Index("ix_ledger_lost", "batch_id", postgresql_where=text("from_book = 'lost' OR to_book = 'lost'")),
    )
    pk: int = _key()
    at: datetime = _instant(nullable=False)
    day: date = Field(sa_column=Column(Date(), nullable=False))
    account_pk: int = _reference("account.pk")
    batch_id: str = _reference("batch.id")
    submission_id: UUID = _reference("submission.id")
    job_pk: int = _reference("job.pk")
    kind: str
    from_book: str
    to_book: str
    amount: Decimal = _money()
    usd_per_credit: Decimal = _money()
    actor: str | None = Field(default=None, sa_column_kwargs={"server_default": CURRENT_ACTOR})


class Usage(_Row, table=True):
    """Committed money (reserved, in doubt, spent, lost) of a batch and of a day: the sum of its rows.

    A trigger adds a row for what each statement on the ledger changes, and a claim folds them: exact at all times,
    and no row that two workers would have to wait for.
    """

    __table_args__ = (Index("ix_usage_account", "account_pk", "day"), Index("ix_usage_batch", "batch_id"))
    pk: int = _key()
    account_pk: int = Field(sa_column=Column(BigInteger(), nullable=False))
    batch_id: str
    day: date = Field(sa_column=Column(Date(), nullable=False))
    credits: Decimal = _money()
    usd: Decimal = _money()


class Event(_Row, table=True):
    """Every transition of a batch, job or submission, written by trigger."""

    pk: int = _key()
    at: datetime = _instant(nullable=False)
    batch_id: str = Field(index=True)
    entity: str
    entity_id: str
    from_state: str | None = None
    to_state: str
    actor: str | None = None


class Transition(_Row, table=True):
    """One allowed change of state; the trigger that writes events refuses all others."""

    entity: str = Field(primary_key=True)
    from_state: str = Field(primary_key=True)
    to_state: str = Field(primary_key=True)


def table_of(row: type[_Row]) -> Table:
    """The SQLAlchemy table behind a row class, for Core statements."""
    return cast(Table, row.__table__)  # type: ignore[attr-defined]  # set by SQLModel's metaclass


accounts = table_of(Account)
catalogs = table_of(CatalogRow)
batches = table_of(Batch)
holds = table_of(Hold)
submissions = table_of(Submission)
jobs = table_of(Job)
in_flight = table_of(InFlight)
payments = table_of(PaymentRow)
payees = table_of(Payee)
job_needs = table_of(JobNeed)
schedules = table_of(Schedule)
schedule_runs = table_of(ScheduleRun)
notifications = table_of(Notification)
assets = table_of(Asset)
reviews = table_of(Review)
ledger = table_of(LedgerEntry)
usages = table_of(Usage)
readings = table_of(Reading)
paces = table_of(Pace)
events = table_of(Event)
transitions = table_of(Transition)
