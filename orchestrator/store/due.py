"""When there is work next: the seconds until each step has something to do."""

from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from orchestrator.base.states import JobState, SubmissionState
from orchestrator.store.claims import Scope, may_send
from orchestrator.store.database import NOW
from orchestrator.store.tables import accounts, batches, jobs, submissions


@dataclass(frozen=True, slots=True)
class Due:
    """Seconds until the next submit, poll and copy may start (0: now); None where nothing waits for it."""

    submit: float | None
    poll: float | None
    copy: float | None


def next_due(connection: Connection, scope: Scope) -> Due:
    """The next instants at which each step has something to do. A full provider is not considered."""
    submit = (
        select(func.greatest(func.min(jobs.c.due_at), func.min(accounts.c.paused_until)) - NOW)
        .select_from(jobs)
        .join(batches, batches.c.id == jobs.c.batch_id)
        .join(accounts, accounts.c.pk == jobs.c.account_pk)
        .where(jobs.c.state == JobState.PENDING, scope.covers(jobs.c.account_pk, jobs.c.batch_id), may_send())
    )
    poll = select(func.greatest(func.min(submissions.c.due_at), func.min(accounts.c.paused_until)) - NOW).where(
        accounts.c.pk == submissions.c.account_pk,
        submissions.c.state == SubmissionState.ACCEPTED,
        submissions.c.lease_token.is_(None),
        scope.covers(submissions.c.account_pk, submissions.c.batch_id),
    )
    copy = select(func.min(jobs.c.due_at) - NOW).where(
        jobs.c.state == JobState.COPYING,
        jobs.c.lease_token.is_(None),
        scope.covers(jobs.c.account_pk, jobs.c.batch_id),
    )
    waits = [connection.execute(query).scalar_one() for query in (submit, poll, copy)]
    return Due(*(None if wait is None else max(wait.total_seconds(), 0.0) for wait in waits))
