"""The files of finished jobs, and what people decided about them."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, Column, Index, UniqueConstraint, text
from sqlmodel import Field

from orchestrator.base.states import Decision
from orchestrator.store.tables.columns import (
    CURRENT_ACTOR,
    Row,
    document,
    instant,
    one_of,
    reference,
    row_key,
    table_of,
)


class Asset(Row, table=True):
    """One file of a finished job; stored when `stored_at` is set. `source_url` may carry a signature: never show it.

    `content` is the file itself, where it came with the answer (a text); it goes once the file is stored.
    """

    __table_args__ = (
        UniqueConstraint("job_pk", "position", "role"),
        CheckConstraint("stored_at IS NULL OR (uri IS NOT NULL AND sha256 IS NOT NULL)", name="stored_is_whole"),
        CheckConstraint("(source_url <> '') <> (content IS NOT NULL) OR stored_at IS NOT NULL", name="one_source"),
    )
    pk: int = row_key()
    job_pk: int = reference("job.pk")
    position: int
    role: str
    kind: str
    source_url: str
    content: str | None = None
    source_expires_at: datetime | None = instant()
    declared_mime: str | None = None
    tags: list[dict[str, Any]] = document()
    key: str | None = None
    uri: str | None = None
    sha256: str | None = None
    bytes: int | None = Field(default=None, sa_column=Column(BigInteger, nullable=True))
    mime_type: str | None = None
    width: int | None = None
    height: int | None = None
    duration_seconds: float | None = None
    stored_at: datetime | None = instant()


class Review(Row, table=True):
    """What a person decided about the result of a job; of several yes and no, the newest is what holds.

    `asset_sha256` is the hash of its first original, "" where it gave none. `take_key` is the submit key of the batch
    that makes another take: a result is taken anew once, however often the same is asked for.
    """

    __table_args__ = (
        one_of("decision", Decision),
        CheckConstraint("(decision = 'take') = (take_key IS NOT NULL)", name="take_has_key"),
        Index("ix_review_job", "job_pk", "pk"),
        Index("ix_review_take", "job_pk", "asset_sha256", unique=True, postgresql_where=text("decision = 'take'")),
    )
    pk: int = row_key()
    job_pk: int = reference("job.pk")
    decision: str
    asset_sha256: str
    note: str | None = None
    take_key: str | None = None
    at: datetime = instant(nullable=False)
    actor: str | None = Field(default=None, sa_column_kwargs={"server_default": CURRENT_ACTOR})


assets = table_of(Asset)
reviews = table_of(Review)
