"""When there is work next: the seconds until each step has something to do."""

from dataclasses import dataclass

from sqlalchemy import Connection, func, select, true

from orchestrator.base.states import JobState, SubmissionState
from orchestrator.store.accounts import Scope
from orchestrator.store.database import NOW
from orchestrator.store.holds import may_send
from orchestrator.store.tables import accounts, batches, jobs, submissions


@dataclass(frozen=True, slots=True)
class Due:
    """Seconds until the next submit, poll and copy may start (0: now); None where nothing waits for it."""

    submit: float | None
    poll: float | None
    copy: float | None


def next_due(connection: Connection, scope: Scope) -> Due:
    """The next instants at which each step has something to do. A full provider is not considered."""
    first = (
        select(jobs.c.due_at)
        .where(jobs.c.batch_id == batches.c.id, jobs.c.state == JobState.PENDING)
        .order_by(jobs.c.due_at)
        .limit(1)
        .lateral()
    )
    submit = (
        select(func.greatest(first.c.due_at, accounts.c.paused_until) - NOW)
        .select_from(batches.join(accounts, accounts.c.pk == batches.c.account_pk).join(first, true()))
        .where(scope.covers(batches.c.account_pk, batches.c.id), may_send())
        .order_by(first.c.due_at)
    )
    poll = (
        select(func.greatest(submissions.c.due_at, accounts.c.paused_until) - NOW)
        .join(accounts, accounts.c.pk == submissions.c.account_pk)
        .where(
            submissions.c.state == SubmissionState.ACCEPTED,
            submissions.c.lease_token.is_(None),
            scope.covers(submissions.c.account_pk, submissions.c.batch_id),
        )
        .order_by(submissions.c.due_at)
    )
    copy = (
        select(jobs.c.due_at - NOW)
        .where(
            jobs.c.state == JobState.COPYING,
            jobs.c.lease_token.is_(None),
            scope.covers(jobs.c.account_pk, jobs.c.batch_id),
        )
        .order_by(jobs.c.due_at)
    )
    waits = [connection.execute(query.limit(1)).scalar_one_or_none() for query in (submit, poll, copy)]
    return Due(*(None if wait is None else max(wait.total_seconds(), 0.0) for wait in waits))
