"""Manifests that are submitted by the clock, and what came of each time."""

from datetime import datetime
from decimal import Decimal

from sqlalchemy import BigInteger, CheckConstraint, Column, DateTime, ForeignKey, Index, UniqueConstraint
from sqlmodel import Field

from orchestrator.store.tables.columns import Row, instant, money, reference, row_key, table_of


class Schedule(Row, table=True):
    """A manifest that is submitted at the slots of a cron expression; `next_at` is the next of them.

    `manifest` is an absolute path or a URI, read afresh each time.
    """

    __table_args__ = (UniqueConstraint("account_pk", "name"),)
    pk: int = row_key()
    account_pk: int = reference("account.pk")
    name: str
    manifest: str
    cron: str
    tz: str
    heartbeat: str | None = None
    paused: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})
    next_at: datetime = instant(nullable=False)
    created_at: datetime = instant(nullable=False)


class ScheduleRun(Row, table=True):
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
    started_at: datetime = instant(nullable=False)
    ended_at: datetime | None = instant()
    batch_id: str | None = reference("batch.id", nullable=True)
    new_credits: Decimal | None = money(nullable=True)
    message: str | None = None


schedules = table_of(Schedule)
schedule_runs = table_of(ScheduleRun)
