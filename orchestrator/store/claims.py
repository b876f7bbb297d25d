"""Taking due work: each claim is one short transaction that leases a chunk of rows (`FOR UPDATE SKIP LOCKED`).

Lock order everywhere: account, then submission, then job.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from math import ceil
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, Connection, and_, bindparam, exists, func, insert, null, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from orchestrator.base.money import ZERO, canonical
from orchestrator.base.states import (
    BLOCKING_HOLDS,
    IN_FLIGHT_JOBS,
    BatchState,
    HoldCode,
    JobState,
    SubmissionState,
)
from orchestrator.store.database import NOW
from orchestrator.store.holds import put_hold
from orchestrator.store.leases import Lease
from orchestrator.store.tables import accounts, assets, batches, holds, jobs, submissions


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose work is claimed: one account, and all its batches or only the named ones."""

    account_pk: int
    batch_ids: tuple[str, ...] | None = None

    def covers(self, account: ColumnElement[int], batch: ColumnElement[str]) -> ColumnElement[bool]:
        if self.batch_ids is None:
            return account == self.account_pk
        return and_(account == self.account_pk, batch.in_(self.batch_ids))


@dataclass(frozen=True, slots=True)
class ClaimedJob:
    """A job inside a claimed submission, at its place in the request."""

    pk: int
    name: str
    item: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ClaimedSubmission:
    """A submission that was written as `intended` and may now be sent, once."""

    id: UUID
    token: UUID
    batch_id: str
    media: str
    jobs: tuple[ClaimedJob, ...]


@dataclass(frozen=True, slots=True)
class ClaimedPoll:
    """An accepted submission whose state should be asked for."""

    id: UUID
    token: UUID
    batch_id: str
    request_id: str
    age_seconds: float
    not_found_seconds: float | None
    failures: int


@dataclass(frozen=True, slots=True)
class ClaimedAsset:
    """A file to copy; `sha256` is set where an earlier attempt had already verified it."""

    pk: int
    position: int
    role: str
    kind: str
    source_url: str
    declared_mime: str | None
    sha256: str | None
    stored: bool


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
    seconds_to_expiry: float
    assets: tuple[ClaimedAsset, ...]


def claim_submissions(
    connection: Connection, scope: Scope, *, owner: int, lease_seconds: float, limit: int, max_in_flight: int
) -> list[ClaimedSubmission]:
    """Reserve the money of up to `limit` due jobs and write their submissions as `intended`.

    The account's row lock makes the count of jobs at the provider and the check of the budget exact, however
    many workers claim at once. A job that would pass its batch's budget puts the batch on hold instead.
    """
    if not lock_account(connection, scope.account_pk):
        return []
    at_provider = connection.execute(
        select(func.count()).where(jobs.c.account_pk == scope.account_pk, jobs.c.state.in_(IN_FLIGHT_JOBS))
    ).scalar_one()
    room = min(limit, max_in_flight - at_provider)
    if room <= 0:
        return []
    lease = Lease.new(owner, lease_seconds)
    claimed: list[ClaimedSubmission] = []
    intents: list[dict[str, Any]] = []
    sendable = connection.execute(_sendable_batches(scope).limit(room)).all()
    for number, batch in enumerate(sendable):
        share = ceil(room / (len(sendable) - number))  # evenly: a large batch does not starve a small one
        affordable = _within_budget(connection, batch, connection.execute(_due_jobs(batch.id).limit(share)).all())
        room -= len(affordable)
        for start in range(0, len(affordable), batch.bundle):
            rows = affordable[start : start + batch.bundle]
            claimed.append(_claimed_submission(batch, rows, lease))
            intents.append({"id": claimed[-1].id, "batch_id": batch.id, "reserved": _total(rows)})
    if claimed:
        _write_intents(connection, scope, claimed, intents, lease)
    return claimed


def lock_account(connection: Connection, account_pk: int) -> bool:
    """Lock the account's row; False while a 429 keeps the whole account waiting."""
    paused = connection.execute(
        select((func.coalesce(accounts.c.paused_until, NOW) > NOW).label("paused"))
        .where(accounts.c.pk == account_pk)
        .with_for_update()
    ).scalar_one()
    return not paused


def account_waits(account: ColumnElement[int]) -> ColumnElement[bool]:
    """Whether a 429 keeps the account of a row waiting."""
    return exists().where(accounts.c.pk == account, accounts.c.paused_until > NOW)


def may_send() -> ColumnElement[bool]:
    """Whether a batch may send something new."""
    blocked = exists().where(holds.c.batch_id == batches.c.id, holds.c.code.in_(BLOCKING_HOLDS))
    return and_(batches.c.state == BatchState.RUNNING, ~blocked)


def _sendable_batches(scope: Scope) -> Any:
    """The batches with something due, those with the least at the provider first."""
    at_provider = (
        select(func.count()).where(jobs.c.batch_id == batches.c.id, jobs.c.state.in_(IN_FLIGHT_JOBS)).scalar_subquery()
    )
    has_due = exists().where(jobs.c.batch_id == batches.c.id, jobs.c.state == JobState.PENDING, jobs.c.due_at <= NOW)
    return (
        select(batches.c.id, batches.c.bundle, batches.c.media, batches.c.budget)
        .where(scope.covers(batches.c.account_pk, batches.c.id), may_send(), has_due)
        .order_by(at_provider, batches.c.created_at)
    )


def _due_jobs(batch_id: str) -> Any:
    return (
        select(jobs.c.pk, jobs.c.name, jobs.c.item, jobs.c.estimate)
        .where(jobs.c.batch_id == batch_id, jobs.c.state == JobState.PENDING, jobs.c.due_at <= NOW)
        .order_by(jobs.c.due_at, jobs.c.pk)
        .with_for_update(skip_locked=True)
    )


def committed_money(connection: Connection, batch_id: str) -> Decimal:
    """Credits of a batch that are spent, reserved or in doubt at their worst case."""
    counted = select(func.coalesce(func.sum(func.coalesce(submissions.c.charged, submissions.c.reserved)), 0)).where(
        submissions.c.batch_id == batch_id,
        submissions.c.state.not_in([SubmissionState.REFUSED, SubmissionState.NOT_SENT]),
    )
    return Decimal(connection.execute(counted).scalar_one())


def _within_budget(connection: Connection, batch: Any, rows: Sequence[Any]) -> Sequence[Any]:
    if batch.budget is None or not rows:
        return rows
    committed = committed_money(connection, batch.id)
    affordable = []
    for row in rows:
        if committed + row.estimate > batch.budget:
            missing = canonical(committed + row.estimate - batch.budget)
            put_hold(
                connection,
                batch.id,
                HoldCode.BUDGET_REACHED,
                f"job {row.name} needs {canonical(row.estimate)} credits, {missing} more than the budget has left",
                f"orchestrator status {batch.id}",
            )
            break
        committed += row.estimate
        affordable.append(row)
    return affordable


def _total(rows: Sequence[Any]) -> Decimal:
    return sum((row.estimate for row in rows), ZERO)


def _claimed_submission(batch: Any, rows: Sequence[Any], lease: Lease) -> ClaimedSubmission:
    claimed = tuple(ClaimedJob(row.pk, row.name, row.item) for row in rows)
    return ClaimedSubmission(uuid4(), lease.token, batch.id, batch.media, claimed)


def _write_intents(
    connection: Connection,
    scope: Scope,
    claimed: Sequence[ClaimedSubmission],
    intents: list[dict[str, Any]],
    lease: Lease,
) -> None:
    connection.execute(
        insert(submissions).values(
            account_pk=scope.account_pk,
            state=SubmissionState.INTENDED,
            polls=0,
            poll_failures=0,
            created_at=NOW,
            **lease.columns(),
        ),
        intents,
    )
    connection.execute(
        update(jobs)
        .where(jobs.c.pk == bindparam("job_pk"), jobs.c.state == JobState.PENDING)
        .values(
            state=JobState.SUBMITTING,
            submission_id=bindparam("for_submission"),
            position=bindparam("at_position"),
            error=null(),
        ),
        [
            {"job_pk": job.pk, "for_submission": submission.id, "at_position": position}
            for submission in claimed
            for position, job in enumerate(submission.jobs)
        ],
    )


def claim_polls(
    connection: Connection, scope: Scope, *, owner: int, lease_seconds: float, limit: int
) -> list[ClaimedPoll]:
    """Lease up to `limit` accepted submissions whose next poll is due, the longest overdue first."""
    lease = Lease.new(owner, lease_seconds)
    due = (
        select(submissions.c.id)
        .where(
            submissions.c.state == SubmissionState.ACCEPTED,
            submissions.c.due_at <= NOW,
            submissions.c.lease_token.is_(None),
            scope.covers(submissions.c.account_pk, submissions.c.batch_id),
            ~account_waits(submissions.c.account_pk),
        )
        .order_by(submissions.c.due_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    rows = connection.execute(
        update(submissions)
        .where(submissions.c.id.in_(due.scalar_subquery()))
        .values(lease.columns())
        .returning(
            submissions.c.id,
            submissions.c.batch_id,
            submissions.c.request_id,
            func.extract("epoch", NOW - submissions.c.accepted_at).label("age"),
            func.extract("epoch", NOW - submissions.c.not_found_since).label("lost_for"),
            submissions.c.poll_failures,
        )
    ).all()
    return [
        ClaimedPoll(
            id=row.id,
            token=lease.token,
            batch_id=row.batch_id,
            request_id=row.request_id,
            age_seconds=float(row.age),
            not_found_seconds=None if row.lost_for is None else float(row.lost_for),
            failures=row.poll_failures,
        )
        for row in rows
    ]


def claim_copies(
    connection: Connection, scope: Scope, *, owner: int, lease_seconds: float, limit: int
) -> list[ClaimedCopy]:
    """Lease up to `limit` finished jobs whose files should be stored, the nearest expiry first."""
    lease = Lease.new(owner, lease_seconds)
    due = (
        select(jobs.c.pk)
        .where(
            jobs.c.state == JobState.COPYING,
            jobs.c.due_at <= NOW,
            jobs.c.lease_token.is_(None),
            scope.covers(jobs.c.account_pk, jobs.c.batch_id),
        )
        .order_by(jobs.c.source_expires_at, jobs.c.pk)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    leased = connection.execute(
        update(jobs).where(jobs.c.pk.in_(due.scalar_subquery())).values(lease.columns()).returning(jobs.c.pk)
    ).scalars()
    pks = list(leased)
    if not pks:
        return []
    rows = connection.execute(
        select(
            jobs,
            batches.c.name.label("collection"),
            batches.c.destination,
            batches.c.key,
            batches.c.created_at,
            func.extract("epoch", jobs.c.source_expires_at - NOW).label("left"),
        )
        .join(batches, batches.c.id == jobs.c.batch_id)
        .where(jobs.c.pk.in_(pks))
        .order_by(jobs.c.source_expires_at, jobs.c.pk)
    ).all()
    files = connection.execute(
        select(assets).where(assets.c.job_pk.in_(pks)).order_by(assets.c.position, assets.c.role)
    ).all()
    return [_claimed_copy(row, lease.token, [file for file in files if file.job_pk == row.pk]) for row in rows]


def _claimed_copy(row: Any, token: UUID, files: list[Any]) -> ClaimedCopy:
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
        seconds_to_expiry=float(row.left),
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
            )
            for file in files
        ),
    )


def account_pk(connection: Connection, origin: str, account: str) -> int:
    """The row of one account at one provider origin, made where it is new."""
    connection.execute(upsert(accounts).values(origin=origin, account=account, throttles=0).on_conflict_do_nothing())
    found = select(accounts.c.pk).where(accounts.c.origin == origin, accounts.c.account == account)
    return int(connection.execute(found).scalar_one())
