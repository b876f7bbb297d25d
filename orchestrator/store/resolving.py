"""Settling a submission whose answer was lost: charged or not, on whose word, and on what evidence.

Guarded by the state alone: what an answer, evidence or a person has settled before is not settled again. The
caller holds the account's lock where its evidence was read under it.
"""

from typing import Any
from uuid import UUID

from sqlalchemy import Connection, case, func, null, or_, select, update

from orchestrator.base.states import Book, EntryKind, JobError, JobState, SettledBy, SubmissionState
from orchestrator.store import ledger
from orchestrator.store.database import NOW
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
    error = {"code": JobError.PAYMENT_LOST, "message": _WHY_LOST[settled_by], "charged": True, "provider": None}
    doubtful = (
        select(func.sum(case((entries.c.to_book == Book.IN_DOUBT, entries.c.amount), else_=-entries.c.amount)))
        .where(
            entries.c.submission_id == submission_id,
            entries.c.job_pk == jobs.c.pk,
            or_(entries.c.to_book == Book.IN_DOUBT, entries.c.from_book == Book.IN_DOUBT),
        )
        .scalar_subquery()
    )
    connection.execute(
        update(jobs)
        .where(jobs.c.submission_id == submission_id, jobs.c.state == JobState.IN_DOUBT)
        .values(
            state=JobState.FAILED,
            spent=func.coalesce(jobs.c.spent, 0) + func.coalesce(doubtful, 0),
            error=error,
            ended_at=NOW,
        )
    )
    ledger.move(connection, EntryKind.LOSS, [submission_id])
    return True


def settle_as_not_charged(
    connection: Connection, submission_id: UUID, settled_by: SettledBy, evidence: dict[str, Any]
) -> bool:
    """All its jobs are `pending` again, due now, and their reserve is released. False: it is not in doubt.

    The POST stays counted as an attempt.
    """
    if not _resolve(connection, submission_id, settled_by, evidence, {"charged": 0}):
        return False
    connection.execute(
        update(jobs)
        .where(jobs.c.submission_id == submission_id, jobs.c.state == JobState.IN_DOUBT)
        .values(state=JobState.PENDING, due_at=NOW, submission_id=null(), position=null())
    )
    ledger.move(connection, EntryKind.RELEASE, [submission_id])
    return True


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
