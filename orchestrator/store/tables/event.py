"""What happened, what may happen, and whom it is told to."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Index, text
from sqlmodel import Field

from orchestrator.store.tables.columns import Row, document, instant, reference, row_key, table_of


class Event(Row, table=True):
    """Every transition of a batch, job or submission, written by trigger."""

    pk: int = row_key()
    at: datetime = instant(nullable=False)
    batch_id: str = Field(index=True)
    entity: str
    entity_id: str
    from_state: str | None = None
    to_state: str
    actor: str | None = None


class Transition(Row, table=True):
    """One allowed change of state; the trigger that writes events refuses all others."""

    entity: str = Field(primary_key=True)
    from_state: str = Field(primary_key=True)
    to_state: str = Field(primary_key=True)


class Notification(Row, table=True):
    """A message to someone's URL, from when it is due until it was taken or given up.

    `id` stands for its URL and its `occasion`, which keeps it single: an index of URLs would not take every URL.
    """

    __table_args__ = (
        Index("ix_notification_due", "due_at", postgresql_where=text("ended_at IS NULL")),
        Index("ix_notification_undelivered", "batch_id", postgresql_where=text("delivered_at IS NULL")),
    )
    id: UUID = Field(primary_key=True)
    account_pk: int = reference("account.pk")
    batch_id: str | None = reference("batch.id", nullable=True)
    url: str
    style: str
    event: str
    occasion: str
    body: dict[str, Any] = document()
    created_at: datetime = instant(nullable=False)
    due_at: datetime = instant(nullable=False)
    tries: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    delivered_at: datetime | None = instant()
    ended_at: datetime | None = instant()
    error: str | None = None


events = table_of(Event)
transitions = table_of(Transition)
notifications = table_of(Notification)
