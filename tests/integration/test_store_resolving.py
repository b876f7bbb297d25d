"""Settling doubtful submissions: jobs, books and words after it, once only, on a real Postgres."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import select

from orchestrator.base.states import Book, JobState, SettledBy, SubmissionState
from orchestrator.store import sending
from orchestrator.store.audit import audit
from orchestrator.store.claims import ClaimedSubmission
from orchestrator.store.database import Database
from orchestrator.store.ledger import in_book
from orchestrator.store.resolving import settle_as_charged, settle_as_not_charged
from orchestrator.store.tables import jobs, submissions

from .store_rows import claim, job_states, make_batch, mark_sent, row

BATCH = "things-20261122-0001"
Settle = Callable[..., Any]


def in_doubt(database: Database, *, bundle: int = 1, count: int = 1) -> ClaimedSubmission:
    """A submission of `count` jobs that was sent, and whose answer was lost."""
    work = claim(database, make_batch(database, jobs=count, bundle=bundle))[0]
    with database.begin() as connection:
        assert mark_sent(connection, work.id, work.token)
        assert sending.record_unknown(connection, work.id, work.token, {"verdict": "unknown"})
    return work


def balanced(database: Database) -> bool:
    with database.begin() as connection:
        return audit(connection) == []


def test_as_charged_its_jobs_are_failed_and_their_price_is_lost(database: Database) -> None:
    work = in_doubt(database, bundle=2, count=2)
    with database.begin() as connection:
        assert settle_as_charged(connection, work.id, SettledBy.BALANCE, {"why": "the balance"})
        assert in_book(connection, work.id, Book.LOST) == 6
        found = connection.execute(select(jobs).where(jobs.c.batch_id == BATCH)).all()
    assert [(job.state, job.spent, job.error["code"], job.error["charged"]) for job in found] == [
        (JobState.FAILED, Decimal(3), "payment-lost", True)
    ] * 2
    submission = row(database, submissions, id=work.id)
    assert (submission.state, submission.charged) == (SubmissionState.RESOLVED, Decimal(6))
    assert (submission.settled_by, submission.evidence) == ("balance", {"why": "the balance"})
    assert balanced(database)


def test_as_not_charged_its_jobs_are_sent_again_and_nothing_is_reserved(database: Database) -> None:
    work = in_doubt(database)
    with database.begin() as connection:
        assert settle_as_not_charged(connection, work.id, SettledBy.PERSON, {"who": "me"})
    job = row(database, jobs, batch_id=BATCH)
    assert (job.state, job.spent, job.submission_id, job.attempts) == (JobState.PENDING, None, None, 1)
    submission = row(database, submissions, id=work.id)
    assert (submission.state, submission.charged, submission.settled_by) == ("resolved", Decimal(0), "person")
    assert balanced(database)
    assert len(claim(database, make_batch(database, "other"))) == 3


@pytest.mark.parametrize("settle", [settle_as_charged, settle_as_not_charged])
def test_what_is_settled_is_not_settled_again(database: Database, settle: Settle) -> None:
    work = in_doubt(database)
    with database.begin() as connection:
        assert settle_as_charged(connection, work.id, SettledBy.WRITE_OFF, {})
        assert not settle(connection, work.id, SettledBy.PERSON, {})
    assert job_states(database, BATCH) == [JobState.FAILED]
    assert row(database, submissions, id=work.id).settled_by == SettledBy.WRITE_OFF
    assert balanced(database)


@pytest.mark.parametrize("settle", [settle_as_charged, settle_as_not_charged])
def test_what_is_under_way_is_not_settled(database: Database, settle: Settle) -> None:
    work = claim(database, make_batch(database, jobs=1))[0]
    with database.begin() as connection:
        assert not settle(connection, work.id, SettledBy.PERSON, {})
    assert job_states(database, BATCH) == [JobState.SUBMITTING]
