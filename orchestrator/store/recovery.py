"""A database that was put back to an earlier state: what it does not know of its receipts.

An acceptance is known where its request id is, and what was sent where its submission was sent. The acceptance of a
submission that still waits for its answer comes late, unless whoever sent it lives and is about to record it; anything
else proves that the database is behind.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Text, Uuid, any_, bindparam, or_, select
from sqlalchemy.dialects.postgresql import ARRAY

from orchestrator.base.states import SettledBy, SubmissionState
from orchestrator.receipts.book import Slip
from orchestrator.receipts.receipt import Receipt
from orchestrator.store import resolving, sending
from orchestrator.store.leases import is_dead
from orchestrator.store.settling import note_doubt
from orchestrator.store.tables import jobs, submissions

_UNANSWERED = (SubmissionState.SENT, SubmissionState.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Comparison:
    """What the database does not know of some receipts: answers that come late, and whole purchases."""

    late: list[Slip]
    missing: list[Slip]


def compare(connection: Connection, account_pk: int, slips: Sequence[Slip]) -> Comparison:
    """Hold receipts of an account against its submissions."""
    # Who waits for its answer is looked up first: one that is answered meanwhile is known, not missing. What was sent
    # stays sent, and that was committed before its receipt was written: when it is looked up does not matter.
    unanswered = unanswered_among(connection, [slip.submission_id for slip in slips])
    left = left_among(connection, unanswered)
    known = known_requests(connection, account_pk, [slip.request_id for slip in slips if slip.request_id])
    sent = sent_among(connection, [slip.submission_id for slip in slips if not slip.request_id])
    unknown = [slip for slip in slips if slip.request_id not in known and slip.submission_id not in sent]
    return Comparison(
        late=[slip for slip in unknown if slip.submission_id in left],
        missing=[slip for slip in unknown if slip.submission_id not in unanswered],
    )


def known_requests(connection: Connection, account_pk: int, request_ids: list[str]) -> set[str]:
    """Those of some request ids that a submission of an account has."""
    query = select(submissions.c.request_id).where(
        submissions.c.account_pk == account_pk, submissions.c.request_id == _one_of(request_ids, Text())
    )
    return {str(request_id) for request_id in connection.execute(query).scalars()}


def unanswered_among(connection: Connection, submission_ids: list[UUID]) -> set[UUID]:
    """Those of some submissions that still wait for their answer."""
    query = select(submissions.c.id).where(
        submissions.c.id == _one_of(submission_ids, Uuid()), submissions.c.state.in_(_UNANSWERED)
    )
    return set(connection.execute(query).scalars())


def left_among(connection: Connection, submission_ids: Collection[UUID]) -> set[UUID]:
    """Those of some unanswered submissions whose sender is gone; another is just about to record what it heard."""
    is_left = or_(submissions.c.lease_token.is_(None), is_dead(submissions))
    query = select(submissions.c.id).where(submissions.c.id == _one_of(list(submission_ids), Uuid()), is_left)
    return set(connection.execute(query).scalars())


def sent_among(connection: Connection, submission_ids: list[UUID]) -> set[UUID]:
    """Those of some submissions that the database knows were sent."""
    query = select(submissions.c.id).where(
        submissions.c.id == _one_of(submission_ids, Uuid()), submissions.c.sent_at.is_not(None)
    )
    return set(connection.execute(query).scalars())


def _one_of(values: list[Any], kind: Any) -> ColumnElement[Any]:
    return any_(bindparam(None, values, type_=ARRAY(kind)))


def holder_of(connection: Connection, account_pk: int, request_id: str) -> str | None:
    """The batch and the jobs that have a request of an account, in words; None where none has it."""
    rows = connection.execute(
        select(submissions.c.batch_id, jobs.c.name)
        .outerjoin(jobs, jobs.c.submission_id == submissions.c.id)
        .where(submissions.c.account_pk == account_pk, submissions.c.request_id == request_id)
        .order_by(jobs.c.position)
    ).all()
    if not rows:
        return None
    names = ", ".join(row.name for row in rows if row.name is not None)
    return f"batch {rows[0].batch_id}" + (f", job {names}" if names else "")


def in_doubt_since(connection: Connection, account_pk: int) -> dict[UUID, datetime]:
    """The submissions of an account that are in doubt, and when each was sent."""
    query = select(submissions.c.id, submissions.c.sent_at).where(
        submissions.c.account_pk == account_pk, submissions.c.state == SubmissionState.UNKNOWN
    )
    return {row.id: row.sent_at for row in connection.execute(query)}


def record_late(connection: Connection, receipt: Receipt) -> bool:
    """The answer of an unanswered submission, from its receipt: a process died before it could write it down, or the
    database does not know it any more. That it was not charged is taken for one in doubt only.
    """
    submission_id, evidence = receipt.order.submission_id, {"reason": "from its receipt"}
    if receipt.request_id is None:
        taken = resolving.settle_as_not_charged(connection, submission_id, SettledBy.PROVIDER, evidence)
    else:
        acceptance = sending.Acceptance(
            submission_id,
            request_id=receipt.request_id,
            provider_status=None,
            answer={"verdict": SubmissionState.ACCEPTED} | evidence,
            poll_in_seconds=0,
        )
        taken = bool(sending.record_accepted(connection, [acceptance]))
    if taken:
        note_doubt(connection, receipt.order.batch.id)
    return taken
