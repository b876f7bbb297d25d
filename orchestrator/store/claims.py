"""Taking due work that costs money: the reserve and the intent of a submission are one transaction.

Lock order everywhere: account, then submission, then job.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import ceil
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Connection, bindparam, exists, func, insert, null, select, update

from orchestrator.base.money import ZERO
from orchestrator.base.states import IN_FLIGHT_JOBS, JobState, SubmissionState
from orchestrator.store import ledger
from orchestrator.store.accounts import Scope, lock_account
from orchestrator.store.budgets import Purse
from orchestrator.store.database import NOW
from orchestrator.store.holds import may_send
from orchestrator.store.leases import Lease
from orchestrator.store.tables import batches, jobs, submissions


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


def claim_submissions(
    connection: Connection, scope: Scope, *, owner: int, lease_seconds: float, limit: int, max_in_flight: int
) -> list[ClaimedSubmission]:
    """Reserve the money of up to `limit` due jobs and write their submissions as `intended`.

    The account's row lock makes the count of jobs at the provider and the check of the budget exact, however
    many workers claim at once. A job that would pass its batch's budget or a cap puts the batch on hold instead.
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
    purse = Purse(connection, scope.account_pk)
    sendable = connection.execute(_sendable_batches(scope).limit(room)).all()
    for number, batch in enumerate(sendable):
        share = ceil(room / (len(sendable) - number))  # evenly: a large batch does not starve a small one
        affordable = purse.affordable(batch, connection.execute(_due_jobs(batch.id).limit(share)).all())
        room -= len(affordable)
        for start in range(0, len(affordable), batch.bundle):
            rows = affordable[start : start + batch.bundle]
            claimed.append(_claimed_submission(batch, rows, lease))
            intents.append({"id": claimed[-1].id, "batch_id": batch.id, "reserved": _total(rows)})
    if claimed:
        _write_intents(connection, scope, claimed, intents, lease)
    return claimed


def _sendable_batches(scope: Scope) -> Any:
    """The batches with something due, those with the least at the provider first."""
    at_provider = (
        select(func.count()).where(jobs.c.batch_id == batches.c.id, jobs.c.state.in_(IN_FLIGHT_JOBS)).scalar_subquery()
    )
    has_due = exists().where(jobs.c.batch_id == batches.c.id, jobs.c.state == JobState.PENDING, jobs.c.due_at <= NOW)
    return (
        select(batches.c.id, batches.c.bundle, batches.c.media, batches.c.budget, batches.c.usd_per_credit)
        .where(scope.covers(batches.c.account_pk, batches.c.id), may_send(), has_due)
        .order_by(at_provider, batches.c.created_at)
    )


def _due_jobs(batch_id: str) -> Any:
    return (
        select(jobs.c.pk, jobs.c.name, jobs.c.item, func.coalesce(jobs.c.price, jobs.c.estimate).label("price"))
        .where(jobs.c.batch_id == batch_id, jobs.c.state == JobState.PENDING, jobs.c.due_at <= NOW)
        .order_by(jobs.c.due_at, jobs.c.pk)
        .with_for_update(skip_locked=True)
    )


def _total(rows: Sequence[Any]) -> Decimal:
    return sum((row.price for row in rows), ZERO)


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
    ledger.reserve(connection, [submission.id for submission in claimed])
