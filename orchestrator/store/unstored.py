"""Finished jobs whose files are not stored though it was tried more than once: what was paid for and may be lost.

A hold (`destination-failing`) follows only once that lasts; it is told from the second failure on.
"""

from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, exists, func, select

from orchestrator.base.clock import rfc3339
from orchestrator.base.money import canonical
from orchestrator.base.states import JobState
from orchestrator.store.prices import PRICE
from orchestrator.store.tables import assets, batches, jobs, submissions

#: One failure is nothing to speak of.
TOLD_FAILURES = 2


def is_unstored() -> ColumnElement[bool]:
    """Whether the files of a job were tried in vain more than once, and are still tried."""
    return and_(jobs.c.state == JobState.COPYING, jobs.c.copy_failures >= TOLD_FAILURES)


def has_unstored() -> ColumnElement[bool]:
    """Whether a batch has such jobs."""
    return exists().where(jobs.c.batch_id == batches.c.id, is_unstored()).correlate(batches)


def has_fetched_file() -> ColumnElement[bool]:
    """Whether a file of a job is here and whole, but not in the destination, which did not take it."""
    kept = and_(assets.c.sha256.is_not(None), assets.c.stored_at.is_(None))
    return exists().where(assets.c.job_pk == jobs.c.pk, kept).correlate(jobs)


def unstored_document(connection: Connection, batch_id: str) -> dict[str, Any] | None:
    """How many jobs of a batch these are, since when, what they cost, until when their sources last, and what the most
    tried one met; None where there are none.
    """
    made_at = func.coalesce(submissions.c.ended_at, submissions.c.created_at)
    row = connection.execute(
        select(
            jobs.c.copy_error,
            func.count().over().label("n"),
            func.min(made_at).over().label("since"),
            func.sum(PRICE).over().label("price"),
            func.min(jobs.c.source_expires_at).over().label("first_expires_at"),
        )
        .join(submissions, submissions.c.id == jobs.c.submission_id)
        .where(jobs.c.batch_id == batch_id, is_unstored())
        .order_by(jobs.c.copy_failures.desc(), jobs.c.pk)
        .limit(1)
    ).one_or_none()
    if row is None:
        return None
    return {
        "jobs": row.n,
        "since": rfc3339(row.since),
        "error": row.copy_error or "",
        "at_stake": canonical(row.price),
        "first_expires_at": rfc3339(row.first_expires_at),
    }
