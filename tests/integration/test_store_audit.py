"""The audit of the books: silent over whatever the transitions write, and a finding for every way to forge them."""

import importlib.util
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import text, update

from orchestrator.base.states import EntryKind, JobState, SubmissionState
from orchestrator.store import ledger, polling, sending
from orchestrator.store.accounts import Scope
from orchestrator.store.audit import Finding, audit
from orchestrator.store.claims import ClaimedSubmission
from orchestrator.store.database import Database
from orchestrator.store.polling import ItemOutcome
from orchestrator.store.tables import batches, jobs, submissions

from .store_rows import claim, make_batch, mark_sent, record_accepted

BATCH = "things-20261122-0001"
_MIGRATION = Path(__file__).parents[2] / "migrations/versions/0002_money_safety.py"
_UNTRIGGERED = "SET LOCAL session_replication_role = replica;"


def findings(database: Database, batch_id: str | None = None) -> list[Finding]:
    with database.begin() as connection:
        return audit(connection, batch_id)


def sent(database: Database, scope: Scope) -> ClaimedSubmission:
    work = claim(database, scope, limit=1)[0]
    with database.begin() as connection:
        assert mark_sent(connection, work.id, work.token)
    return work


def accepted(database: Database, scope: Scope) -> ClaimedSubmission:
    work = sent(database, scope)
    with database.begin() as connection:
        assert record_accepted(
            connection, work.id, request_id=str(work.id), provider_status=None, answer={}, poll_in_seconds=1
        )
    return work


def finish(database: Database, work: ClaimedSubmission, spent: str) -> None:
    outcome = ItemOutcome(0, JobState.FAILED, Decimal(spent), error={"code": "provider-failed"})
    with database.begin() as connection:
        polling.record_outcomes(connection, {work.id: [outcome]})
        assert polling.resolve_finished(connection, {work.id: "failed"})


@pytest.fixture
def busy(database: Database) -> Scope:
    """A batch with one job in each situation that money can be in, and a second batch beside it."""
    scope = make_batch(database, jobs=8)
    with database.begin() as connection:
        connection.execute(update(batches).values(price_tolerance=1))
    finish(database, accepted(database, scope), "3")
    finish(database, accepted(database, scope), "4.5")
    finish(database, accepted(database, scope), "0")
    doubtful = sent(database, scope)
    with database.begin() as connection:
        sending.record_unknown(connection, doubtful.id, doubtful.token, {})
    accepted(database, scope)
    sent(database, scope)
    claim(database, scope, limit=1)
    make_batch(database, "other-1", jobs=1)
    return scope


def test_what_the_transitions_write_balances_at_every_step(database: Database) -> None:
    scope = make_batch(database, jobs=1)
    assert findings(database) == []
    work = claim(database, scope)[0]
    assert findings(database) == []
    with database.begin() as connection:
        sending.take_back(connection, work.id, work.token, reason="stopped")
    assert findings(database) == []
    for spent in ("2", "3"):  # the second time after a retry
        work = sent(database, scope)
        with database.begin() as connection:
            sending.record_unknown(connection, work.id, work.token, {})
        assert findings(database) == []
        with database.begin() as connection:
            record_accepted(
                connection, work.id, request_id=str(work.id), provider_status=None, answer={}, poll_in_seconds=1
            )
        assert findings(database) == []
        finish(database, work, spent)
        assert findings(database) == []
        with database.begin() as connection:
            connection.execute(update(jobs).values(state=JobState.PENDING))
        assert findings(database) == []


def test_a_loss_counts_as_spent(database: Database) -> None:
    work = sent(database, make_batch(database, jobs=1))
    with database.begin() as connection:
        sending.record_unknown(connection, work.id, work.token, {})
        ledger.move(connection, EntryKind.LOSS, [work.id])
        connection.execute(update(submissions).values(state="resolved", charged=3))
        connection.execute(update(jobs).values(state="failed", error={"code": "payment-lost"}, spent=3))
    assert findings(database) == []


def test_all_situations_at_once_balance(database: Database, busy: Scope) -> None:
    assert findings(database) == []
    assert findings(database, BATCH) == []


@pytest.mark.parametrize(
    ("forgery", "rules"),
    [
        ("UPDATE ledger SET kind = 'loss' WHERE kind = 'doubt'", {"movement"}),
        ("UPDATE ledger SET batch_id = 'other-1' WHERE kind = 'doubt'", {"misfiled", "in-doubt", "reserved"}),
        ("DELETE FROM ledger WHERE kind = 'reserve'", {"overdrawn", "usage", "usage-usd", "reserved"}),
        ("DELETE FROM ledger WHERE kind = 'doubt'", {"reserved", "in-doubt", "batch-in-doubt", "batch-reserved"}),
        ("DELETE FROM ledger WHERE kind = 'release'", {"reserved", "batch-reserved"}),
        ("UPDATE submission SET charged = 2 WHERE charged = 3", {"charged"}),
        ("UPDATE submission SET charged = NULL WHERE charged = 3", {"charged"}),
        ("UPDATE job SET spent = 1 WHERE spent = 3", {"spent", "batch-spent"}),
        ("UPDATE job SET price = 5 WHERE state = 'generating'", {"reserved", "batch-reserved"}),
        ("UPDATE ledger SET amount = amount + 1 WHERE to_book = 'spent'", {"spent", "charged", "overdrawn"}),
        ("UPDATE ledger SET day = day + 1 WHERE kind = 'charge'", {"overdrawn"}),
        ("UPDATE usage SET credits = credits + 1", {"usage"}),
        ("UPDATE usage SET usd = usd + 0.1", {"usage-usd"}),
        ("DELETE FROM usage", {"usage", "usage-usd"}),
        ("UPDATE in_flight SET jobs = jobs + 1", {"at-provider"}),
        ("DELETE FROM in_flight", {"at-provider", "submitting"}),
        ("UPDATE in_flight SET model = 'other' WHERE submitting = 1", {"at-provider", "submitting"}),
        (f"{_UNTRIGGERED} UPDATE job SET state = 'generating' WHERE state = 'submitting'", {"submitting"}),
    ],
)
def test_every_forgery_is_found_and_only_in_its_batch(
    database: Database, busy: Scope, forgery: str, rules: set[str]
) -> None:
    with database.begin() as connection:
        connection.execute(text(forgery))
    found = findings(database)
    assert rules <= {finding.rule for finding in found}
    if "other-1" not in forgery:
        assert findings(database, BATCH) == found
        assert findings(database, "other-1") == []


def test_a_finding_names_batch_job_submission_and_amounts(database: Database) -> None:
    work = accepted(database, make_batch(database, jobs=1))
    with database.begin() as connection:
        connection.execute(text("UPDATE job SET price = 4.5"))
    finding = next(found for found in findings(database) if found.rule == "reserved")
    assert finding.document() == {
        "rule": "reserved",
        "batch": BATCH,
        "job": "job-0",
        "submission": str(work.id),
        "expected": "4.5",
        "found": "3",
        "unit": "credits",
        "message": "3 credits are reserved, 4.5 should be",
    }


def test_the_books_of_a_database_that_had_none_balance(database: Database, busy: Scope) -> None:
    refused_late = sent(database, busy)
    with database.begin() as connection:
        sending.record_unknown(connection, refused_late.id, refused_late.token, {})
        sending.record_rejected(
            connection,
            refused_late.id,
            refused_late.token,
            end=SubmissionState.REFUSED,
            answer={},
            error={"code": "rejected-input"},
        )
        connection.execute(text("TRUNCATE ledger, usage"))
        connection.execute(text("UPDATE job SET price = NULL"))
    assert findings(database) != []
    spec = importlib.util.spec_from_file_location("money_safety", _MIGRATION)
    assert spec is not None
    assert spec.loader is not None
    migration = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(migration)
    with database.begin() as connection:
        for statement in migration.OPEN_THE_BOOKS:
            connection.execute(text(statement))
    assert findings(database) == []
