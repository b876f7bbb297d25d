"""Taking due work that costs nothing: polls and copies, a chunk of rows leased in one short transaction."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    Integer,
    Select,
    Table,
    bindparam,
    exists,
    func,
    literal,
    select,
    update,
)

from orchestrator.base.states import JobState, SubmissionState
from orchestrator.store.accounts import Scope
from orchestrator.store.database import NOW
from orchestrator.store.durations import JobKind
from orchestrator.store.heads import read_in_order
from orchestrator.store.leases import LEASE, Lease
from orchestrator.store.pacing import account_waits
from orchestrator.store.rowsets import IDS, PKS
from orchestrator.store.tables import assets, batches, job_needs, jobs, submissions


@dataclass(frozen=True, slots=True)
class ClaimedPoll:
    """An accepted submission whose state should be asked for."""

    id: UUID
    token: UUID
    batch_id: str
    request_id: str
    kind: JobKind
    age_seconds: float
    not_found_seconds: float | None
    failures: int


@dataclass(frozen=True, slots=True)
class ClaimedAsset:
    """A file to copy; `sha256` is set where an earlier attempt had already verified it.

    `is_needed`: another job needs it, so that it is worth the tries that an original is. `content` is the file itself
    where it is a text, which has no source.
    """

    pk: int
    position: int
    role: str
    kind: str
    source_url: str
    declared_mime: str | None
    sha256: str | None
    stored: bool
    is_needed: bool = False
    content: str | None = None


@dataclass(frozen=True, slots=True)
class ClaimedCopy:
    """A finished job whose files should be stored."""

    pk: int
    token: UUID
    batch_id: str
    job: str
    model: str
    labels: dict[str, str]
    collection: str
    destination: str
    key: str
    created_at: datetime
    failures: int
    assets: tuple[ClaimedAsset, ...]


@dataclass(frozen=True, slots=True)
class CopyQueue:
    """Finished jobs in the order in which their files are tried: those that are due come first in it."""

    is_in_it: ColumnElement[bool]
    order: tuple[ColumnElement[Any], ...]


#: What has not failed yet is always due, the nearest expiry first; what has failed waits for its time.
COPY_QUEUES = (
    CopyQueue(jobs.c.copy_failures == 0, (jobs.c.source_expires_at, jobs.c.pk)),
    CopyQueue(jobs.c.copy_failures > 0, (jobs.c.due_at, jobs.c.source_expires_at)),
)


def waiting_copies(scope: Scope, queue: CopyQueue, *columns: ColumnElement[Any]) -> Select[Any]:
    """The finished jobs of a queue that nobody copies just now."""
    is_open = (jobs.c.state == JobState.COPYING, jobs.c.lease_token.is_(None))
    mine = scope.covers(jobs.c.account_pk, jobs.c.batch_id)
    return select(*columns).where(*is_open, mine, queue.is_in_it).order_by(*queue.order)


def claim_polls(connection: Connection, scope: Scope, *, lease: Lease, limit: int) -> list[ClaimedPoll]:
    """Lease up to `limit` accepted submissions whose next poll is due, the longest overdue first.

    Repeated with the same lease, since it is not known whether the first time was committed, it claims nothing more.
    """
    read_in_order(connection)
    ids = _leased_before(connection, submissions, lease)
    if not ids:
        ids = list(connection.execute(_due_polls(scope), {"most": limit}).scalars())
    rows = connection.execute(_LEASE_POLLS, {"ids": ids, **lease.parameters()}).all() if ids else []
    return [
        ClaimedPoll(
            id=row.id,
            token=lease.token,
            batch_id=row.batch_id,
            request_id=row.request_id,
            kind=JobKind(row.model, row.duration_seconds),
            age_seconds=float(row.age),
            not_found_seconds=None if row.lost_for is None else float(row.lost_for),
            failures=row.poll_failures,
        )
        for row in rows
    ]


@lru_cache
def _due_polls(scope: Scope) -> Select[Any]:
    return (
        select(submissions.c.id)
        .where(
            submissions.c.state == SubmissionState.ACCEPTED,
            submissions.c.due_at <= NOW,
            submissions.c.lease_token.is_(None),
            scope.covers(submissions.c.account_pk, submissions.c.batch_id),
            ~account_waits(literal(scope.account_pk)),
        )
        .order_by(submissions.c.due_at)
        .limit(bindparam("most", type_=Integer()))
        .with_for_update(skip_locked=True)
    )


def _of_first_job(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """Of a submission: what its first job has; its jobs are of one model."""
    return (
        select(column)
        .where(jobs.c.submission_id == submissions.c.id)
        .order_by(jobs.c.position)
        .limit(1)
        .scalar_subquery()
    )


def claim_copies(connection: Connection, scope: Scope, *, lease: Lease, limit: int) -> list[ClaimedCopy]:
    """Lease up to `limit` finished jobs whose files should be stored, the nearest expiry first; of those that failed
    before, only as many as have waited longest are looked at.

    Repeated with the same lease, since it is not known whether the first time was committed, it claims nothing more.
    """
    pks = _leased_before(connection, jobs, lease) or _due_copies(connection, scope, limit)
    if not pks:
        return []
    rows = connection.execute(_LEASE_COPIES, {"pks": pks, **lease.parameters()}).all()
    files: dict[int, list[Any]] = {pk: [] for pk in pks}
    for file in connection.execute(_FILES, {"pks": pks}):
        files[file.job_pk].append(file)
    return [_claimed_copy(row, lease.token, files[row.pk]) for row in sorted(rows, key=_by_expiry)]


def _by_expiry(row: Any) -> tuple[datetime, int]:
    return row.source_expires_at, row.pk


def _due_copies(connection: Connection, scope: Scope, limit: int) -> list[int]:
    read_in_order(connection)
    found: list[Any] = []
    for query in _due_copies_of(scope):
        found += connection.execute(query, {"most": limit})
    return [pk for _, pk in sorted(found)[:limit]]


@lru_cache
def _due_copies_of(scope: Scope) -> list[Select[Any]]:
    waiting = (waiting_copies(scope, queue, jobs.c.source_expires_at, jobs.c.pk) for queue in COPY_QUEUES)
    most = bindparam("most", type_=Integer())
    return [query.where(jobs.c.due_at <= NOW).limit(most).with_for_update(skip_locked=True) for query in waiting]


def _leased_before(connection: Connection, table: Table, lease: Lease) -> list[Any]:
    """The keys of the rows that have this lease already."""
    if lease.is_new:
        return []
    key = next(iter(table.primary_key))
    return list(connection.execute(select(key).where(table.c.lease_token == lease.token)).scalars())


def _claimed_copy(row: Any, token: UUID, files: Sequence[Any]) -> ClaimedCopy:
    return ClaimedCopy(
        pk=row.pk,
        token=token,
        batch_id=row.batch_id,
        job=row.name,
        model=row.model,
        labels=row.labels,
        collection=row.collection,
        destination=row.destination,
        key=row.key,
        created_at=row.created_at,
        failures=row.copy_failures,
        assets=tuple(
            ClaimedAsset(
                pk=file.pk,
                position=file.position,
                role=file.role,
                kind=file.kind,
                source_url=file.source_url,
                declared_mime=file.declared_mime,
                sha256=file.sha256,
                stored=file.stored_at is not None,
                is_needed=file.is_needed,
                content=file.content,
            )
            for file in files
        ),
    )


_LEASE_POLLS = (
    update(submissions)
    .where(submissions.c.id == IDS)
    .values(LEASE)
    .returning(
        submissions.c.id,
        submissions.c.batch_id,
        submissions.c.request_id,
        _of_first_job(jobs.c.model).label("model"),
        _of_first_job(jobs.c.item["duration_seconds"].astext).label("duration_seconds"),
        func.extract("epoch", NOW - submissions.c.accepted_at).label("age"),
        func.extract("epoch", NOW - submissions.c.not_found_since).label("lost_for"),
        submissions.c.poll_failures,
    )
)
_LEASE_COPIES = (
    update(jobs)
    .where(jobs.c.pk == PKS, batches.c.id == jobs.c.batch_id)
    .values(LEASE)
    .returning(
        *(jobs.c[name] for name in ("pk", "batch_id", "name", "model", "labels", "copy_failures", "source_expires_at")),
        batches.c.name.label("collection"),
        batches.c.destination,
        batches.c.key,
        batches.c.created_at,
    )
)
_FILES = (
    select(
        assets,
        exists().where(job_needs.c.needed_pk == assets.c.job_pk, job_needs.c.role == assets.c.role).label("is_needed"),
    )
    .where(assets.c.job_pk == PKS)
    .order_by(assets.c.position, assets.c.role)
)
