"""Taking due work that costs money: the reserve and the intent of a submission are one transaction.

What has to wait, for its model or its batch, holds up nothing else: due jobs are looked for in a queue a batch and a
model. Lock order everywhere: account, then submission, then job.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import ceil
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import BigInteger, Connection, Integer, Numeric, Text, Uuid, bindparam, func, select, text
from sqlalchemy.dialects.postgresql import ARRAY

from orchestrator.base.money import ZERO
from orchestrator.base.states import JobState, SubmissionState
from orchestrator.store import breaker, ledger
from orchestrator.store.accounts import Scope, has_locked_account, lock_account
from orchestrator.store.heads import queue_heads
from orchestrator.store.holds import may_send
from orchestrator.store.leases import Lease
from orchestrator.store.purse import Purse
from orchestrator.store.room import Room
from orchestrator.store.tables import batches, jobs, submissions


@dataclass(frozen=True, slots=True)
class ClaimedJob:
    """A job inside a claimed submission, at its place in the request. `price` is what is reserved for it."""

    pk: int
    name: str
    item: dict[str, Any]
    estimate: Decimal
    price: Decimal


@dataclass(frozen=True, slots=True)
class ClaimedSubmission:
    """A submission that was written as `intended` and may now be sent, once; its jobs are of one type and model."""

    id: UUID
    token: UUID
    batch_id: str
    type: str
    model: str
    media: str
    bundle: int
    #: By how much its batch lets prices rise, as a fraction; None where it says nothing.
    price_tolerance: Decimal | None
    jobs: tuple[ClaimedJob, ...]

    @property
    def items(self) -> list[dict[str, Any]]:
        """What is asked for, as the store keeps it, in the order of the request."""
        return [job.item for job in self.jobs]

    @property
    def reserved(self) -> Decimal:
        """What is reserved for all its jobs, in the account's unit."""
        return _total(self.jobs)


def claim_submissions(
    connection: Connection, scope: Scope, *, lease: Lease, limit: int, max_in_flight: int
) -> list[ClaimedSubmission]:
    """Reserve the money of up to `limit` due jobs and write their submissions as `intended`.

    The account's row lock makes the count of jobs at the provider and the check of the budget exact, however
    many workers claim at once. A job that would pass its batch's budget or a cap puts the batch on hold instead.

    Repeated with the same lease, since it is not known whether the first time was committed, it claims nothing more.
    """
    lock_account(connection, scope.account_pk)
    if not lease.is_new and (before := _claimed_before(connection, lease.token)):
        return before
    room = Room(connection, scope.account_pk, max_in_flight=max_in_flight)
    room.fold()
    free = min(limit, room.places())
    if free <= 0 or breaker.is_open(connection, scope.account_pk):
        return []
    claimed: list[ClaimedSubmission] = []
    purse = Purse(connection, scope.account_pk)
    sendable = _sendable(connection, scope, room)
    for number, (batch, models) in enumerate(sendable):
        share = ceil(free / (len(sendable) - number))  # evenly: a large batch does not starve a small one
        affordable = purse.affordable(batch, _due_jobs(connection, batch, models, room, share))
        free -= len(affordable)
        for rows in _bundles(affordable, batch.bundle):
            claimed.append(_claimed_submission(uuid4(), lease.token, batch, rows))
            room.take(rows[0].model, len(rows))
    if claimed:
        _write_intents(connection, scope, claimed, lease)
        room.record()
    return claimed


def claim_unless_locked(
    connection: Connection, scope: Scope, *, lease: Lease, limit: int, max_in_flight: int
) -> list[ClaimedSubmission] | None:
    """As `claim_submissions`; None at once where someone else has the account's lock, who most likely claims, too."""
    if lease.is_new and not has_locked_account(connection, scope.account_pk):
        return None
    return claim_submissions(connection, scope, lease=lease, limit=limit, max_in_flight=max_in_flight)


_OF_BATCH = (batches.c.id, batches.c.bundle, batches.c.media, batches.c.price_tolerance)


def _claimed_before(connection: Connection, token: UUID) -> list[ClaimedSubmission]:
    found = connection.execute(
        select(submissions.c.id.label("submission_id"), *_OF_BATCH)
        .join(batches, batches.c.id == submissions.c.batch_id)
        .where(submissions.c.lease_token == token, submissions.c.state == SubmissionState.INTENDED)
        .order_by(submissions.c.id)
    ).all()
    return [_claimed_once(connection, row, token) for row in found]


def _claimed_once(connection: Connection, submission: Any, token: UUID) -> ClaimedSubmission:
    price = func.coalesce(jobs.c.price, jobs.c.estimate).label("price")
    of_it = select(jobs.c.pk, jobs.c.name, jobs.c.type, jobs.c.model, jobs.c.item, jobs.c.estimate, price)
    rows = connection.execute(of_it.where(jobs.c.submission_id == submission.submission_id).order_by(jobs.c.position))
    return _claimed_submission(submission.submission_id, token, submission, rows.all())


def _sendable(connection: Connection, scope: Scope, room: Room) -> list[tuple[Any, list[str]]]:
    """The batches with something due that has room, those with the least at the provider first, and its models."""
    found = connection.execute(
        select(*_OF_BATCH, batches.c.budget, batches.c.usd_per_credit)
        .where(scope.covers(batches.c.account_pk, batches.c.id), may_send())
        .order_by(batches.c.created_at)
    ).all()
    rows = sorted(found, key=lambda row: room.of_batch(row.id))
    models: dict[str, list[str]] = {row.id: [] for row in rows}
    for head in queue_heads(connection, models):
        if head.due_in_seconds <= 0 and room.jobs(head.model) > 0:
            models[head.batch_id].append(head.model)
    return [(row, models[row.id]) for row in rows if models[row.id]]


#: The first due jobs in the manifest's order, of each model no more than it has room for. Only those are locked, and
#: looked at again then: a condition on the state out there would make a plan that reads the whole queue look cheap.
_DUE_JOBS = text(
    """
    SELECT job.pk, job.name, job.type, job.model, job.item, job.estimate, coalesce(job.price, job.estimate) AS price,
           job.state
    FROM job JOIN (
        SELECT due.pk
        FROM unnest(:models, :rooms) AS queue (model, room) CROSS JOIN LATERAL (
            SELECT pk, due_at FROM job
            WHERE batch_id = :batch AND job.model = queue.model AND state = 'pending' AND due_at <= orchestrator_now()
            ORDER BY due_at, pk LIMIT queue.room
        ) AS due
        ORDER BY due.due_at, due.pk LIMIT :share
    ) AS first ON first.pk = job.pk
    ORDER BY job.due_at, job.pk
    FOR UPDATE OF job SKIP LOCKED
    """
).bindparams(bindparam("models", type_=ARRAY(Text())), bindparam("rooms", type_=ARRAY(Integer())))


def _due_jobs(connection: Connection, batch: Any, models: Sequence[str], room: Room, share: int) -> Sequence[Any]:
    together = min(share, room.jobs(bundle=batch.bundle))
    rooms = [min(together, room.jobs(model, bundle=batch.bundle)) for model in models]
    parameters = {"batch": batch.id, "models": list(models), "rooms": rooms, "share": together}
    return [row for row in connection.execute(_DUE_JOBS, parameters) if row.state == JobState.PENDING]


def _bundles(rows: Sequence[Any], size: int) -> list[list[Any]]:
    """The rows in POSTs of up to `size`, each of one model: what the provider refuses of one concerns no other.

    Each text has a POST of its own.
    """
    bundles: list[list[Any]] = []
    growing: dict[str, list[Any]] = {}
    for row in rows:
        bundle = growing.get(row.model)
        if bundle is None or len(bundle) == size or row.type == "text":
            bundle = growing[row.model] = []
            bundles.append(bundle)
        bundle.append(row)
    return bundles


def _total(rows: Sequence[Any]) -> Decimal:
    return sum((row.price for row in rows), ZERO)


def _claimed_submission(submission_id: UUID, token: UUID, batch: Any, rows: Sequence[Any]) -> ClaimedSubmission:
    return ClaimedSubmission(
        id=submission_id,
        token=token,
        batch_id=batch.id,
        type=rows[0].type,
        model=rows[0].model,
        media=batch.media,
        bundle=batch.bundle,
        price_tolerance=batch.price_tolerance,
        jobs=tuple(ClaimedJob(row.pk, row.name, row.item, row.estimate, row.price) for row in rows),
    )


#: One statement for all of them: each costs more than the rows do.
_WRITE_SUBMISSIONS = text(
    """
    INSERT INTO submission (id, batch_id, account_pk, state, reserved, polls, poll_failures, created_at,
                            lease_token, lease_owner, lease_until)
    SELECT id, batch_id, :account, 'intended', reserved, 0, 0, orchestrator_now(),
           :token, :owner, orchestrator_now() + make_interval(secs => :seconds)
    FROM unnest(:ids, :batches, :reserved) AS intent (id, batch_id, reserved)
    """
).bindparams(
    bindparam("ids", type_=ARRAY(Uuid())),
    bindparam("batches", type_=ARRAY(Text())),
    bindparam("reserved", type_=ARRAY(Numeric())),
    bindparam("token", type_=Uuid()),
)
_TAKE_JOBS = text(
    """
    UPDATE job SET state = 'submitting', submission_id = taken.submission_id, position = taken.position, error = NULL
    FROM unnest(:jobs, :submissions, :positions) AS taken (pk, submission_id, position)
    WHERE job.pk = taken.pk AND job.state = 'pending'
    """
).bindparams(
    bindparam("jobs", type_=ARRAY(BigInteger())),
    bindparam("submissions", type_=ARRAY(Uuid())),
    bindparam("positions", type_=ARRAY(Integer())),
)


def _write_intents(connection: Connection, scope: Scope, claimed: Sequence[ClaimedSubmission], lease: Lease) -> None:
    connection.execute(
        _WRITE_SUBMISSIONS,
        {
            "ids": [one.id for one in claimed],
            "batches": [one.batch_id for one in claimed],
            "reserved": [one.reserved for one in claimed],
            "account": scope.account_pk,
            **lease.parameters(),
        },
    )
    taken = [(job.pk, one.id, position) for one in claimed for position, job in enumerate(one.jobs)]
    pks, ids, positions = zip(*taken, strict=True)
    connection.execute(_TAKE_JOBS, {"jobs": list(pks), "submissions": list(ids), "positions": list(positions)})
    ledger.reserve(connection, [submission.id for submission in claimed])
