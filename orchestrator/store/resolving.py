"""Settling a submission whose answer was lost: charged or not, on whose word, and on what evidence.

Guarded by the state alone: what an answer, evidence or a person has settled before is not settled again. The
caller holds the account's lock where its evidence was read under it. A signed payment is void with "not charged", so
who says that has asked its chain; "charged" leaves it open, for its chain to tell.
"""

from typing import Any
from uuid import UUID

from sqlalchemy import Connection, case, func, null, or_, select, update

from orchestrator.base.states import Book, EntryKind, JobError, JobState, PaymentState, SettledBy, SubmissionState
from orchestrator.store import ledger, payments, unproven
from orchestrator.store.branches import revive_below
from orchestrator.store.chains import wait_for_needs
from orchestrator.store.database import NOW
from orchestrator.store.prices import UNQUOTED
from orchestrator.store.superseding import leave_to_newer
from orchestrator.store.tables import jobs, submissions
from orchestrator.store.tables import ledger as entries

_WHY_LOST = {
    SettledBy.BALANCE: "the balance shows that it was charged; its answer was lost, so nothing can be fetched",
    SettledBy.PERSON: "a person settled it as charged; its answer was lost, so nothing can be fetched",
    SettledBy.WRITE_OFF: "its answer was lost and nothing told within 72 h whether it was charged: counted as charged",
}


def settle_as_charged(
    connection: Connection, submission_id: UUID, settled_by: SettledBy, evidence: dict[str, Any]
) -> bool:
    """All its jobs are `failed` (`payment-lost`), what was in doubt for them is lost. False: it is not in doubt."""
    cost = ledger.in_book(connection, submission_id, Book.IN_DOUBT)
    if not _resolve(connection, submission_id, settled_by, evidence, {"charged": cost}):
        return False
    _lose(connection, submission_id, settled_by, evidence)
    return True


def withdraw_unpaid(connection: Connection, submission_id: UUID, evidence: dict[str, Any]) -> bool:
    """Its chain says that nothing was paid for a request that was named for it and is unproven: its jobs are `pending`
    again, what it reserved is given back. False: it is not unproven, or is being polled.
    """
    by_chain = SettledBy.CHAIN
    return withdraw_request(connection, submission_id, evidence, settled_by=by_chain) and take_back_loss(
        connection, submission_id, evidence, settled_by=by_chain
    )


def withdraw_request(
    connection: Connection, submission_id: UUID, evidence: dict[str, Any], *, settled_by: SettledBy = SettledBy.PERSON
) -> bool:
    """Take back a request that was named for it and is unproven: it counts as charged. False: as above."""
    cost = ledger.in_book(connection, submission_id, Book.RESERVED)
    if not unproven.withdraw(connection, submission_id, settled_by, evidence, cost):
        return False
    ledger.move(connection, EntryKind.DOUBT, [submission_id])
    _lose(connection, submission_id, SettledBy.PERSON, evidence)
    return True


def _lose(connection: Connection, submission_id: UUID, settled_by: SettledBy, evidence: dict[str, Any]) -> None:
    """What is in doubt for the jobs of a submission is lost, and they are failed."""
    error = {"code": JobError.PAYMENT_LOST, "message": _WHY_LOST[settled_by], "charged": True, "provider": None}
    connection.execute(
        update(jobs)
        .where(jobs.c.submission_id == submission_id, jobs.c.state.in_([JobState.IN_DOUBT, JobState.GENERATING]))
        .values(
            state=JobState.FAILED,
            spent=func.coalesce(jobs.c.spent, 0) + _booked(submission_id, Book.IN_DOUBT),
            error=error,
            ended_at=NOW,
        )
    )
    ledger.move(connection, EntryKind.LOSS, [submission_id])
    payments.leave_to_chain(connection, submission_id)


def settle_as_not_charged(
    connection: Connection, submission_id: UUID, settled_by: SettledBy, evidence: dict[str, Any]
) -> bool:
    """All its jobs are `pending` again, due now, and their reserve is released. False: it is not in doubt.

    What a newer batch of the collection has bought meanwhile is `skipped`. The POST stays counted as an attempt. A
    signed payment that it carried is void.
    """
    if not _resolve(connection, submission_id, settled_by, evidence, {"charged": 0}):
        return False
    back = {"state": JobState.PENDING, "due_at": NOW, "submission_id": null(), "position": null()}
    payments.end(connection, submission_id, PaymentState.VOID, evidence=evidence)
    put_back = connection.execute(
        update(jobs)
        .where(jobs.c.submission_id == submission_id, jobs.c.state == JobState.IN_DOUBT)
        .values(back | UNQUOTED)
        .returning(jobs.c.pk)
    )
    unsent = put_back.scalars().all()
    wait_for_needs(connection, unsent)  # after a recovery a job may not know the results that it was sent with
    leave_to_newer(connection, unsent)
    ledger.move(connection, EntryKind.RELEASE, [submission_id])
    return True


def take_back_loss(
    connection: Connection, submission_id: UUID, evidence: dict[str, Any], *, settled_by: SettledBy = SettledBy.PERSON
) -> bool:
    """What was settled as charged was not, as it turns out: its jobs are `pending` again, what was lost is given back.

    A job that was run again meanwhile only gets back what it spent; one that a newer batch has bought meanwhile is
    `skipped`. What was skipped because of them waits for them again. False: nothing of it is counted as lost.
    """
    lost_jobs = (jobs.c.submission_id == submission_id, jobs.c.error["code"].astext == JobError.PAYMENT_LOST)
    taken_back = connection.execute(
        update(submissions)
        .where(
            submissions.c.id == submission_id,
            submissions.c.state == SubmissionState.RESOLVED,
            select(jobs.c.pk).where(*lost_jobs, jobs.c.state == JobState.FAILED).exists(),
        )
        .values(charged=0, settled_by=settled_by, evidence=evidence)
    ).rowcount
    if not taken_back:
        return False
    payments.end(connection, submission_id, PaymentState.VOID, evidence=evidence)
    _give_back(connection, submission_id)
    unsent = connection.execute(
        update(jobs)
        .where(*lost_jobs, jobs.c.state == JobState.FAILED)
        .values(
            UNQUOTED
            | {
                "state": JobState.PENDING,
                "error": null(),
                "due_at": NOW,
                "ended_at": null(),
                "submission_id": null(),
                "position": null(),
            }
        )
        .returning(jobs.c.batch_id, jobs.c.pk)
    ).all()
    pks = [job.pk for job in unsent]
    revive_below(connection, unsent[0].batch_id, pks)
    leave_to_newer(connection, pks)
    return True


def give_back_found(connection: Connection, submission_id: UUID, request_id: str) -> None:
    """What was lost with a submission is given back: its request was found, and its charge is booked there.

    Changes nothing where nothing was lost with it.
    """
    if ledger.in_book(connection, submission_id, Book.LOST) == 0:
        return
    _give_back(connection, submission_id)
    evidence = func.jsonb_build_object("found", request_id, "before", submissions.c.evidence)
    connection.execute(
        update(submissions)
        .where(submissions.c.id == submission_id, submissions.c.state == SubmissionState.RESOLVED)
        .values(charged=0, evidence=evidence)
    )


def _give_back(connection: Connection, submission_id: UUID) -> None:
    """Take what a submission lost off its jobs, and out of the books."""
    booked_for = select(entries.c.job_pk).where(entries.c.submission_id == submission_id)
    lost = _booked(submission_id, Book.LOST)
    connection.execute(update(jobs).where(jobs.c.pk.in_(booked_for)).values(spent=jobs.c.spent - lost))
    ledger.move(connection, EntryKind.REFUND, [submission_id])


def _booked(submission_id: UUID, book: Book) -> Any:
    """What a submission has in a book for the job at hand, in credits."""
    return (
        select(func.coalesce(func.sum(case((entries.c.to_book == book, entries.c.amount), else_=-entries.c.amount)), 0))
        .where(
            entries.c.submission_id == submission_id,
            entries.c.job_pk == jobs.c.pk,
            or_(entries.c.to_book == book, entries.c.from_book == book),
        )
        .correlate(jobs)
        .scalar_subquery()
    )


def _resolve(
    connection: Connection,
    submission_id: UUID,
    settled_by: SettledBy,
    evidence: dict[str, Any],
    values: dict[str, Any],
) -> bool:
    word = {"state": SubmissionState.RESOLVED, "settled_by": settled_by, "evidence": evidence, "ended_at": NOW}
    return bool(
        connection.execute(
            update(submissions)
            .where(submissions.c.id == submission_id, submissions.c.state == SubmissionState.UNKNOWN)
            .values(word | values)
        ).rowcount
    )
