"""The transitions of a submission and its jobs around one paid POST: one guarded function each.

Every UPDATE names the state it comes from and the lease's token, and counts its rows: a worker that lost its
lease changes nothing. The exception is an answer of the provider's that comes late: the sender of a POST is the
only one who can hear it, so it is let in from `unknown` too. A request id in memory is money.
"""

from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, exists, func, null, select, update
from sqlalchemy.exc import IntegrityError

from orchestrator.base.states import EntryKind, JobState, PaymentState, SettledBy, SubmissionState
from orchestrator.store import ledger, payments
from orchestrator.store.database import NOW
from orchestrator.store.holds import is_wanted
from orchestrator.store.leases import NO_LEASE
from orchestrator.store.prices import UNQUOTED
from orchestrator.store.tables import batches, jobs, submissions


def mark_sent(
    connection: Connection, submission_id: UUID, token: UUID, body_sha256: str, *, lease_seconds: float
) -> bool:
    """Commit this before the first byte leaves. False: the lease is gone, or a person has paused or cancelled the
    batch since it was claimed, so nothing may be sent.

    The lease runs anew from here, for `lease_seconds`: longer than the POST can take. True also where an earlier
    call with this token had committed and its answer was lost.
    """
    marked = connection.execute(
        update(submissions)
        .where(
            _held(submission_id, token),
            submissions.c.state == SubmissionState.INTENDED,
            exists().where(batches.c.id == submissions.c.batch_id, is_wanted()),
        )
        .values(
            state=SubmissionState.SENT,
            sent_at=NOW,
            body_sha256=body_sha256,
            lease_until=in_seconds(lease_seconds),
        )
    ).rowcount
    if not marked:
        by_us = select(submissions.c.id).where(_held(submission_id, token), submissions.c.state == SubmissionState.SENT)
        return connection.execute(by_us).first() is not None
    connection.execute(
        update(jobs)
        .where(jobs.c.submission_id == submission_id, jobs.c.state == JobState.SUBMITTING)
        .values(attempts=jobs.c.attempts + 1)
    )
    return True


def record_accepted(
    connection: Connection,
    submission_id: UUID,
    *,
    request_id: str,
    provider_status: str | None,
    answer: dict[str, Any],
    poll_in_seconds: float,
    settlement: dict[str, Any] | None = None,
    is_proven: bool = True,
) -> bool:
    """The provider took it. Let in from `sent` and, late, from `unknown`; repeating it changes nothing and is True.

    The signed payment that it carried has settled with it; `settlement` is its receipt. Where only a person has named
    the request (not `is_proven`), its chain tells that. False where another submission
    of ours has this request id, or where it was settled before.
    """
    values = NO_LEASE | {
        "state": SubmissionState.ACCEPTED,
        "request_id": request_id,
        "provider_status": provider_status,
        "answer": answer,
        "accepted_at": NOW,
        "due_at": in_seconds(poll_in_seconds),
    }
    open_states = submissions.c.state.in_([SubmissionState.SENT, SubmissionState.UNKNOWN])
    try:
        with connection.begin_nested():
            accepted = connection.execute(
                update(submissions).where(submissions.c.id == submission_id, open_states).values(values)
            ).rowcount
    except IntegrityError:
        return False
    if accepted:
        connection.execute(
            update(jobs)
            .where(
                jobs.c.submission_id == submission_id,
                jobs.c.state.in_([JobState.SUBMITTING, JobState.IN_DOUBT]),
            )
            .values(state=JobState.GENERATING)
        )
        ledger.move(connection, EntryKind.CLEAR, [submission_id])
        if is_proven:
            transaction = (settlement or {}).get("transaction")
            payments.end(connection, submission_id, PaymentState.SETTLED, transaction=transaction, receipt=settlement)
        else:
            payments.leave_to_chain(connection, submission_id)
    return bool(accepted) or _has_request_id(connection, submission_id, request_id)


def _has_request_id(connection: Connection, submission_id: UUID, request_id: str) -> bool:
    recorded = (submissions.c.id == submission_id) & (submissions.c.request_id == request_id)
    return connection.execute(select(submissions.c.id).where(recorded)).first() is not None


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
        "attempts": jobs.c.attempts - 1,
        "due_at": in_seconds(retry_in_seconds),
        "submission_id": null(),
        "position": null(),
    }
    return _end(connection, submission_id, token, end, answer, back | UNQUOTED)


def take_back(
    connection: Connection, submission_id: UUID, token: UUID, *, reason: str, retry_in_seconds: float = 0
) -> bool:
    """An intent that is not sent for now: its jobs are pending again, due later; no byte left, so it was no attempt."""
    answer = {"verdict": SubmissionState.NOT_SENT, "reason": reason}
    back = {
        "state": JobState.PENDING,
        "due_at": in_seconds(retry_in_seconds),
        "submission_id": null(),
        "position": null(),
    }
    return _end(connection, submission_id, token, SubmissionState.NOT_SENT, answer, back | UNQUOTED)


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
