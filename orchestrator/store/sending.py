"""The transitions of a submission and its jobs around one paid POST: one guarded function each.

Every UPDATE names the state it comes from and the lease's token, and counts its rows: a worker that lost its
lease changes nothing. The exception is an answer of the provider's that comes late: the sender of a POST is the
only one who can hear it, so it is let in from `unknown` too. A request id in memory is money.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Float, bindparam, case, exists, func, null, select, update
from sqlalchemy.exc import IntegrityError

from orchestrator.base.states import EntryKind, JobState, PaymentState, SettledBy, SubmissionState
from orchestrator.store import ledger, payments
from orchestrator.store.database import NOW
from orchestrator.store.holds import is_wanted
from orchestrator.store.leases import NO_LEASE
from orchestrator.store.prices import UNQUOTED
from orchestrator.store.rowsets import IDS, JSON, TEXT, UUID_, rowset
from orchestrator.store.tables import batches, jobs, submissions


@dataclass(frozen=True, slots=True)
class Departure:
    """A claimed submission that is about to be sent, by its lease's token, with the hash of its exact bytes."""

    id: UUID
    token: UUID
    body_sha256: str


@dataclass(frozen=True, slots=True)
class Acceptance:
    """A submission that the provider took. `is_proven`: not where only a person has named its request, whose payment
    then is for its chain to tell of. `settlement` is the receipt of the payment that it carried.
    """

    id: UUID
    request_id: str
    provider_status: str | None
    answer: dict[str, Any]
    poll_in_seconds: float
    settlement: dict[str, Any] | None = None
    is_proven: bool = True


def lock_submissions(connection: Connection, submission_ids: Collection[UUID]) -> None:
    """Lock the rows of some submissions, always in one order."""
    connection.execute(_LOCK, {"ids": sorted(submission_ids)})


def mark_sent(connection: Connection, departures: Sequence[Departure], *, lease_seconds: float) -> set[UUID]:
    """Commit this before the first byte leaves; the submissions that may be sent. Of the others the lease is gone, or
    a person has paused or cancelled the batch since they were claimed.

    The lease runs anew from here, for `lease_seconds`: longer than the POST can take. Those among them that an
    earlier call with this token had marked, the answer of whose commit was lost, may be sent too.
    """
    rows = [{"id": str(it.id), "token": str(it.token), "sha256": it.body_sha256} for it in departures]
    lock_submissions(connection, [it.id for it in departures])
    marked = set(connection.execute(_MARK_SENT, {"rows": rows, "seconds": lease_seconds}).scalars())
    if marked:
        connection.execute(_COUNT_ATTEMPTS, {"ids": list(marked)})
    left = [row for row, departure in zip(rows, departures, strict=True) if departure.id not in marked]
    return marked | set(connection.execute(_MARKED_BEFORE, {"rows": left}).scalars() if left else ())


def record_accepted(connection: Connection, taken: Sequence[Acceptance]) -> set[UUID]:
    """The provider took these submissions; those of them that are recorded as it says.

    Let in from `sent` and, late, from `unknown`; repeating it changes nothing. The signed payment that one carried has
    settled with it. Not recorded is one where another submission of ours has this request id, or which was settled
    before.
    """
    lock_submissions(connection, [it.id for it in taken])
    try:
        with connection.begin_nested():
            accepted = _accept(connection, taken)
    except IntegrityError:
        accepted = {submission_id for it in taken for submission_id in _accept_one(connection, it)}
    if accepted:
        connection.execute(_START_GENERATING, {"ids": list(accepted)})
        ledger.move(connection, EntryKind.CLEAR, accepted)
        _end_payments(connection, [it for it in taken if it.id in accepted])
    left = [{"id": str(it.id), "request_id": it.request_id} for it in taken if it.id not in accepted]
    return accepted | set(connection.execute(_ACCEPTED_BEFORE, {"rows": left}).scalars() if left else ())


def _accept(connection: Connection, taken: Sequence[Acceptance]) -> set[UUID]:
    rows = [
        {
            "id": str(it.id),
            "request_id": it.request_id,
            "provider_status": it.provider_status,
            "answer": it.answer,
            "poll_in_seconds": it.poll_in_seconds,
        }
        for it in taken
    ]
    return set(connection.execute(_ACCEPT, {"rows": rows}).scalars())


def _accept_one(connection: Connection, it: Acceptance) -> set[UUID]:
    try:
        with connection.begin_nested():
            return _accept(connection, [it])
    except IntegrityError:
        return set()


def _end_payments(connection: Connection, taken: Sequence[Acceptance]) -> None:
    signed = payments.signed_of(connection, [it.id for it in taken])
    for it in taken:
        if it.id in signed and it.is_proven:
            transaction = (it.settlement or {}).get("transaction")
            payments.end(connection, it.id, PaymentState.SETTLED, transaction=transaction, receipt=it.settlement)
        elif it.id in signed:
            payments.leave_to_chain(connection, it.id)


def record_rejected(
    connection: Connection,
    submission_id: UUID,
    token: UUID,
    *,
    end: SubmissionState,
    answer: dict[str, Any],
    error: dict[str, Any],
) -> bool:
    """The provider refused these jobs (or they could not be sent at all): `rejected`, nothing charged."""
    return _end(
        connection, submission_id, token, end, answer, {"state": JobState.REJECTED, "error": error, "ended_at": NOW}
    )


def record_returned(
    connection: Connection,
    submission_id: UUID,
    token: UUID,
    *,
    end: SubmissionState,
    answer: dict[str, Any],
    retry_in_seconds: float,
) -> bool:
    """Nothing was charged and the jobs may be sent again: back to `pending`, due later; it was no attempt."""
    back = {
        "state": JobState.PENDING,
        "attempts": jobs.c.attempts - _IS_COUNTED,
        "due_at": in_seconds(retry_in_seconds),
        "submission_id": null(),
        "position": null(),
    }
    return _end(connection, submission_id, token, end, answer, back | UNQUOTED)


def take_back(
    connection: Connection, submission_id: UUID, token: UUID, *, reason: str, retry_in_seconds: float = 0
) -> bool:
    """A submission of which no byte left: its jobs are pending again, due later."""
    return record_returned(
        connection,
        submission_id,
        token,
        end=SubmissionState.NOT_SENT,
        answer={"verdict": SubmissionState.NOT_SENT, "reason": reason},
        retry_in_seconds=retry_in_seconds,
    )


def record_unknown(connection: Connection, submission_id: UUID, token: UUID, answer: dict[str, Any]) -> bool:
    """Sent, and no answer that decides: the jobs are in doubt and the reserve stands."""
    marked = connection.execute(
        update(submissions)
        .where(_held(submission_id, token), submissions.c.state == SubmissionState.SENT)
        .values(NO_LEASE | {"state": SubmissionState.UNKNOWN, "answer": answer})
    ).rowcount
    if marked:
        connection.execute(
            update(jobs)
            .where(jobs.c.submission_id == submission_id, jobs.c.state == JobState.SUBMITTING)
            .values(state=JobState.IN_DOUBT)
        )
        ledger.move(connection, EntryKind.DOUBT, [submission_id])
    return bool(marked)


def _end(
    connection: Connection,
    submission_id: UUID,
    token: UUID,
    end: SubmissionState,
    answer: dict[str, Any],
    job_values: dict[str, Any],
) -> bool:
    """End a submission that was not charged. Only its sender calls this: a rescue that took it for dead is undone,
    unless it has a signed payment, which others may have sent again since.
    """
    before = (
        [SubmissionState.SENT] if end is SubmissionState.REFUSED else [SubmissionState.SENT, SubmissionState.INTENDED]
    )
    ended = (
        connection.execute(
            update(submissions)
            .where(_held(submission_id, token), submissions.c.state.in_(before))
            .values(NO_LEASE | {"state": end, "answer": answer, "ended_at": NOW})
        ).rowcount
        or connection.execute(
            update(submissions)
            .where(
                submissions.c.id == submission_id,
                submissions.c.state == SubmissionState.UNKNOWN,
                ~payments.has_signed(submissions.c.id),
            )
            .values(
                state=SubmissionState.RESOLVED,
                answer=answer,
                charged=0,
                settled_by=SettledBy.PROVIDER,
                ended_at=NOW,
            )
        ).rowcount
    )
    if ended:
        open_states = jobs.c.state.in_([JobState.SUBMITTING, JobState.IN_DOUBT])
        connection.execute(update(jobs).where(jobs.c.submission_id == submission_id, open_states).values(job_values))
        ledger.move(connection, EntryKind.RELEASE, [submission_id])
        payments.end(connection, submission_id, PaymentState.VOID, evidence={"reason": "it was not sent"})
    return bool(ended)


def in_seconds(seconds: float | ColumnElement[float]) -> ColumnElement[Any]:
    """An instant `seconds` from now, by the database's clock."""
    return func.orchestrator_now() + func.make_interval(0, 0, 0, 0, 0, 0, seconds)


def _held(submission_id: UUID, token: UUID) -> ColumnElement[bool]:
    return (submissions.c.id == submission_id) & (submissions.c.lease_token == token)


_LOCK = (
    select(submissions.c.id).where(submissions.c.id == IDS).order_by(submissions.c.id).with_for_update(key_share=True)
)

_DEPARTING = rowset(id=UUID_, token=UUID_, sha256=TEXT)
_IS_DEPARTING = (submissions.c.id == _DEPARTING.c.id) & (submissions.c.lease_token == _DEPARTING.c.token)
_MARK_SENT = (
    update(submissions)
    .where(
        _IS_DEPARTING,
        submissions.c.state == SubmissionState.INTENDED,
        exists().where(batches.c.id == submissions.c.batch_id, is_wanted()),
    )
    .values(
        state=SubmissionState.SENT,
        sent_at=NOW,
        body_sha256=_DEPARTING.c.sha256,
        lease_until=in_seconds(bindparam("seconds", type_=Float())),
    )
    .returning(submissions.c.id)
)
_MARKED_BEFORE = select(submissions.c.id).where(_IS_DEPARTING, submissions.c.state == SubmissionState.SENT)
_COUNT_ATTEMPTS = (
    update(jobs)
    .where(jobs.c.submission_id == IDS, jobs.c.state == JobState.SUBMITTING)
    .values(attempts=jobs.c.attempts + 1)
)
#: 1 for the jobs of a submission that was marked as sent, else 0.
_IS_COUNTED = (
    select(case((submissions.c.sent_at.is_not(None), 1), else_=0))
    .where(submissions.c.id == jobs.c.submission_id)
    .scalar_subquery()
)

_TAKEN = rowset(id=UUID_, request_id=TEXT, provider_status=TEXT, answer=JSON, poll_in_seconds=Float())
_ACCEPT = (
    update(submissions)
    .where(submissions.c.id == _TAKEN.c.id, submissions.c.state.in_([SubmissionState.SENT, SubmissionState.UNKNOWN]))
    .values(
        NO_LEASE
        | {
            "state": SubmissionState.ACCEPTED,
            "request_id": _TAKEN.c.request_id,
            "provider_status": _TAKEN.c.provider_status,
            "answer": _TAKEN.c.answer,
            "accepted_at": NOW,
            "due_at": in_seconds(_TAKEN.c.poll_in_seconds),
        }
    )
    .returning(submissions.c.id)
)
_ACCEPTED_BEFORE = select(submissions.c.id).where(
    submissions.c.id == _TAKEN.c.id, submissions.c.request_id == _TAKEN.c.request_id
)
_START_GENERATING = (
    update(jobs)
    .where(jobs.c.submission_id == IDS, jobs.c.state.in_([JobState.SUBMITTING, JobState.IN_DOUBT]))
    .values(state=JobState.GENERATING)
)
