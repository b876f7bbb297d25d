"""The items of a batch, what they need of each other, and how many are at the provider."""

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Column, ForeignKey, Index, UniqueConstraint, text
from sqlmodel import Field

from orchestrator.base.states import Gate, JobState, WaitsFor
from orchestrator.store.tables.columns import (
    Row,
    document,
    due_index,
    instant,
    money,
    one_of,
    reference,
    row_key,
    table_of,
)


class Job(Row, table=True):
    """One item of a manifest; `due_at` is when it may be sent or copied next.

    `estimate`, `price` and `spent` are in the account's unit; `work_credits` is the catalogue's price in credits, null
    where that is the estimate. `fingerprint` stands for all that determines its result. A reused job has the results of
    `reused_from_pk` and was never sent. `row` are the columns of the row that it was made from. `dependents_due`: its
    end has still to be passed on to the jobs that need it.
    """

    __table_args__ = (
        one_of("state", JobState),
        one_of("waits_for", WaitsFor),
        one_of("gate", Gate),
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
        due_index("ix_job_submit_due", "pending", "batch_id", "model", "due_at", "pk"),
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
    pk: int = row_key()
    batch_id: str = reference("batch.id")
    account_pk: int = reference("account.pk")
    ordinal: int
    name: str
    type: str
    model: str
    item: dict[str, Any] = document()
    labels: dict[str, str] = document()
    estimate: Decimal = money()
    work_credits: Decimal | None = money(nullable=True)
    #: What is reserved for it, where a charge has shown that the estimate is wrong, or its request was quoted.
    price: Decimal | None = money(nullable=True)
    #: What was planned or approved for it, while `price` is its share of a quote.
    agreed: Decimal | None = money(nullable=True)
    state: str
    waits_for: str | None = None
    fingerprint: str | None = None
    row: dict[str, Any] | None = document(nullable=True)
    gate: str | None = None
    dependents_due: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})
    reused_from_pk: int | None = Field(default=None, sa_column=Column(BigInteger, ForeignKey("job.pk"), nullable=True))
    attempts: int = 0
    submission_id: UUID | None = reference("submission.id", nullable=True)
    position: int | None = None
    spent: Decimal | None = money(nullable=True)
    error: dict[str, Any] | None = document(nullable=True)
    copy_failures: int = 0
    copy_error: str | None = None
    source_expires_at: datetime | None = instant()
    due_at: datetime = instant(nullable=False)
    lease_token: UUID | None = None
    lease_owner: int | None = None
    lease_until: datetime | None = instant()
    ended_at: datetime | None = instant()


class JobNeed(Row, table=True):
    """One job needs another's result, the file of this role: the `from` of a media field."""

    __tablename__ = "job_need"
    __table_args__ = (
        CheckConstraint("role IN ('original', 'final_frame')", name="role_known"),
        Index("ix_job_need_needed", "needed_pk"),
    )
    job_pk: int = reference("job.pk", key=True)
    needed_pk: int = reference("job.pk", key=True)
    role: str = Field(primary_key=True)


class InFlight(Row, table=True):
    """The jobs at the provider (submitting or generating), and those of them that are submitting: the sums of its rows.

    A trigger adds a row for what each statement changes alike, and whoever reads many folds them: exact at all times,
    and no row that two workers would have to wait for.
    """

    __tablename__ = "in_flight"
    __table_args__ = (Index("ix_in_flight_account", "account_pk"),)
    pk: int = row_key()
    account_pk: int = Field(sa_column=Column(BigInteger(), nullable=False))
    batch_id: str
    model: str
    jobs: int
    submitting: int


jobs = table_of(Job)
job_needs = table_of(JobNeed)
in_flight = table_of(InFlight)
