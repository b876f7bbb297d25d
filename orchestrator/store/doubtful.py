"""What is known of one submission whose payment is in doubt, for the person who settles it."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, func, select, update

from orchestrator.base.errors import UsageError
from orchestrator.base.states import Book, JobError, JobState, SubmissionState
from orchestrator.store import ledger
from orchestrator.store.tables import batches, jobs, submissions
from orchestrator.store.unproven import is_unproven


@dataclass(frozen=True, slots=True)
class Doubtful:
    """A submission that is in doubt, or was taken for charged without the provider's word (`is_written_off`), or for
    a request that a person named and the provider has told nothing of (`is_unproven`).

    `jobs` are the names of all the jobs it was sent with, `items` what was sent for them; `answer` is what came back,
    without a header or a body.
    """

    submission_id: UUID
    batch_id: str
    account_pk: int
    jobs: tuple[str, ...]
    items: tuple[dict[str, Any], ...]
    credits: Decimal
    sent_at: datetime
    answer: dict[str, Any]
    is_written_off: bool
    is_unproven: bool
    evidence: dict[str, Any] | None


def find_doubtful(connection: Connection, batch_id: str, job: str) -> Doubtful:
    """The submission of a job that is in doubt, was written off or is unproven. Raises UsageError for any other."""
    found = find_job(connection, batch_id, job)
    is_written_off = found.state == JobState.FAILED and (found.error or {}).get("code") == JobError.PAYMENT_LOST
    unproven = is_unproven(connection, found.submission_id)
    if found.state != JobState.IN_DOUBT and not is_written_off and not unproven:
        raise UsageError(
            f"job {job} of {batch_id} is {found.state}, not in doubt: there is nothing to settle",
            hint=f"orchestrator jobs {batch_id} --state in_doubt lists those that are",
        )
    row = connection.execute(select(submissions).where(submissions.c.id == found.submission_id)).one()
    sent = connection.execute(
        select(jobs.c.name, jobs.c.item).where(jobs.c.submission_id == row.id).order_by(jobs.c.position)
    ).all()
    book = Book.RESERVED if unproven else Book.LOST if is_written_off else Book.IN_DOUBT
    return Doubtful(
        submission_id=row.id,
        batch_id=batch_id,
        account_pk=row.account_pk,
        jobs=tuple(job.name for job in sent),
        items=tuple(job.item for job in sent),
        credits=ledger.in_book(connection, row.id, book),
        sent_at=row.sent_at,
        answer=row.answer or {},
        is_written_off=is_written_off,
        is_unproven=unproven,
        evidence=row.evidence,
    )


def named(connection: Connection, batch_id: str) -> list[str]:
    """A job of each submission of a batch that is in doubt, in the manifest's order."""
    first = func.min(jobs.c.ordinal)
    of_each = select(first).where(jobs.c.batch_id == batch_id, jobs.c.state == JobState.IN_DOUBT)
    found = select(jobs.c.name).where(
        jobs.c.batch_id == batch_id, jobs.c.ordinal.in_(of_each.group_by(jobs.c.submission_id))
    )
    return list(connection.execute(found.order_by(jobs.c.ordinal)).scalars())


def find_job(connection: Connection, batch_id: str, job: str) -> Any:
    """The row of a job by its name. Raises UsageError where the batch has no such job."""
    found = connection.execute(select(jobs).where(jobs.c.batch_id == batch_id, jobs.c.name == job)).one_or_none()
    if found is None:
        raise UsageError(f"{batch_id} has no job {job!r}", hint=f"orchestrator jobs {batch_id} lists them")
    return found


def others_in_doubt(connection: Connection, doubt: Doubtful) -> tuple[int, Decimal]:
    """How many other submissions of the account are in doubt, and for how many credits."""
    count, credit_amount = connection.execute(
        select(func.count(), func.coalesce(func.sum(submissions.c.reserved), 0)).where(
            submissions.c.account_pk == doubt.account_pk,
            submissions.c.state == SubmissionState.UNKNOWN,
            submissions.c.id != doubt.submission_id,
        )
    ).one()
    return count, Decimal(credit_amount)


def owner_of_request(connection: Connection, account_pk: int, request_id: str) -> Any | None:
    """The batch and job (`batch_id`, `job`) that a request id of the account belongs to; None: nobody's."""
    return connection.execute(
        select(submissions.c.batch_id, jobs.c.name.label("job"))
        .join(batches, batches.c.id == submissions.c.batch_id)
        .outerjoin(jobs, jobs.c.submission_id == submissions.c.id)
        .where(submissions.c.account_pk == account_pk, submissions.c.request_id == request_id)
        .order_by(jobs.c.position)
        .limit(1)
    ).one_or_none()


def record_evidence(connection: Connection, submission_id: UUID, evidence: dict[str, Any]) -> None:
    """Keep on what evidence a submission was settled."""
    connection.execute(update(submissions).where(submissions.c.id == submission_id).values(evidence=evidence))


def record_finding(connection: Connection, submission_id: UUID, evidence: dict[str, Any]) -> None:
    """Keep what was found of a submission that is still in doubt: on what another was settled stays as it is."""
    in_doubt = submissions.c.state == SubmissionState.UNKNOWN
    connection.execute(update(submissions).where(submissions.c.id == submission_id, in_doubt).values(evidence=evidence))
