"""A request that a person named for a payment in doubt, unchecked: until the provider tells of it, it may be wrong."""

from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, and_, null, or_, select, update
from sqlalchemy.exc import IntegrityError

from orchestrator.base.states import SettledBy, SubmissionState
from orchestrator.store.database import NOW
from orchestrator.store.leases import NO_LEASE
from orchestrator.store.tables import submissions


def is_unproven(connection: Connection, submission_id: UUID | None) -> bool:
    """Whether a submission is polled by a request id that only a person has named: no poll has been answered yet."""
    query = select(submissions.c.id).where(submissions.c.id == submission_id, _is_unproven())
    return connection.execute(query).first() is not None


def name_another(connection: Connection, submission_id: UUID, request_id: str, answer: dict[str, Any]) -> bool:
    """Poll an unproven submission by another request id. False: it is not unproven any more, or is being polled."""
    values = {"request_id": request_id, "answer": answer, "polls": 0, "poll_failures": 0, "due_at": NOW}
    try:
        with connection.begin_nested():
            return _change(connection, submission_id, values | {"not_found_since": null()})
    except IntegrityError:
        return False


def withdraw(
    connection: Connection, submission_id: UUID, settled_by: SettledBy, evidence: dict[str, Any], charged: object
) -> bool:
    """End an unproven submission without a request. False: as above."""
    values = {
        "state": SubmissionState.RESOLVED,
        "request_id": null(),
        "settled_by": settled_by,
        "evidence": evidence,
        "charged": charged,
        "due_at": null(),
        "ended_at": NOW,
    }
    return _change(connection, submission_id, values)


def _change(connection: Connection, submission_id: UUID, values: dict[str, Any]) -> bool:
    is_idle = or_(submissions.c.lease_until.is_(None), submissions.c.lease_until < NOW)
    named = update(submissions).where(submissions.c.id == submission_id, _is_unproven(), is_idle)
    return bool(connection.execute(named.values(NO_LEASE | values)).rowcount)


def _is_unproven() -> ColumnElement[bool]:
    """`told` stands in the evidence of what a person said: whether the provider told of it then."""
    return and_(
        submissions.c.state == SubmissionState.ACCEPTED,
        submissions.c.polls == submissions.c.poll_failures,
        submissions.c.evidence["said"].astext == submissions.c.request_id,
        submissions.c.evidence["told"].astext == "false",
    )
