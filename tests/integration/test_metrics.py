"""The metrics of a real database: what the leader tells of everything, and what a worker that does not lead tells."""

import json
import re
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from sqlalchemy import TextClause, insert, text, update

from orchestrator.base.heartbeats import Heartbeats, Loop
from orchestrator.base.logs import JsonFormatter, redactor
from orchestrator.base.states import Book, EntryKind, HoldCode, JobState
from orchestrator.operations.following import Follower, tell
from orchestrator.operations.ledger_watch import LedgerWatch
from orchestrator.operations.metrics import STEPS, Metrics
from orchestrator.store import audit, event_tail
from orchestrator.store import metrics as store_metrics
from orchestrator.store.caps import Limit, set_caps
from orchestrator.store.database import Database
from orchestrator.store.event_tail import CHARGES, HAPPENINGS
from orchestrator.store.holds import put_hold
from orchestrator.store.tables import accounts, batches, jobs, ledger, submissions

from .store_rows import PRICE, claim, force_jobs, make_batch, put_asset, put_submission

BATCH = "things-20261122-0001"
Labels = dict[str, str]


class Clock:
    """Seconds that a test passes by itself."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def served(metrics: Metrics) -> Callable[..., float | None]:
    """What the registry says of a series."""
    return lambda name, **labels: metrics.registry.get_sample_value(name, labels)


def sandbox_batch(database: Database) -> None:
    """What no metric tells of."""
    batch_id = "sandboxed-20261122-0001"
    scope = make_batch(database, batch_id, jobs=4, name="sandboxed")
    with database.begin() as connection:
        connection.execute(update(batches).where(batches.c.id == batch_id).values(sandbox=True))
        put_submission(connection, batch_id, scope.account_pk, "unknown", sent_at=text("now()"))


def test_the_leader_tells_of_all_but_sandboxes(database: Database) -> None:
    sandbox_batch(database)
    scope = make_batch(database, jobs=5, budget=20)
    claim(database, scope, limit=3)
    with database.begin() as connection:
        set_caps(connection, scope.account_pk, {"daily": Limit(Decimal(10), "credits")})
        put_submission(connection, BATCH, scope.account_pk, "unknown", sent_at=text("now() - interval '2 hours'"))
        late = put_submission(connection, BATCH, scope.account_pk, "accepted")
        connection.execute(
            update(submissions).where(submissions.c.id == late).values(due_at=text("now() - interval '1 minute'"))
        )
        connection.execute(update(accounts).values(breaker_opened_at=text("now()")))
        put_hold(connection, BATCH, HoldCode.DESTINATION_FAILING, message="no", command="none")
    metrics = Metrics(database, Heartbeats())
    metrics.refresh()
    value = served(metrics)
    assert value("orchestrator_leader") == 1
    assert (value("orchestrator_jobs", state="submitting"), value("orchestrator_jobs", state="pending")) == (3, 2)
    assert value("orchestrator_batches", state="running") == 1
    assert value("orchestrator_holds", code="destination-failing") == 1
    assert value("orchestrator_committed", payment="credits", unit="credits", window="daily") == float(3 * PRICE)
    assert value("orchestrator_cap_left", payment="credits", unit="credits", window="daily") == 1
    assert value("orchestrator_cap_used_ratio", window="daily") == 0.9
    assert value("orchestrator_budget_used_ratio") == 0.45
    assert value("orchestrator_budget_left", payment="credits", unit="credits") == 11
    assert value("orchestrator_in_doubt", payment="credits") == 1
    assert value("orchestrator_in_doubt_money", payment="credits", unit="credits") == float(PRICE)
    assert 7200 <= (value("orchestrator_in_doubt_oldest_seconds") or 0) < 7300
    assert 60 <= (value("orchestrator_poll_overdue_seconds") or 0) < 120
    assert value("orchestrator_breaker_open", payment="credits") == 1


def test_files_that_wait_and_when_the_first_is_gone(database: Database) -> None:
    scope = make_batch(database)
    metrics = Metrics(database, Heartbeats(), monotonic=(clock := Clock()))
    metrics.refresh()
    value = served(metrics)
    assert (value("orchestrator_copies_waiting"), value("orchestrator_copy_expiry_seconds")) == (0, None)
    with database.begin() as connection:
        submission = put_submission(connection, BATCH, scope.account_pk, "accepted")
        force_jobs(connection, BATCH, [JobState.COPYING, JobState.COPYING], submission)
        in_hours = text("now() + make_interval(hours => 3 + ordinal)")
        connection.execute(update(jobs).where(jobs.c.state == JobState.COPYING).values(source_expires_at=in_hours))
    metrics.refresh()
    assert value("orchestrator_copies_waiting") == 0, "it was read a moment ago"
    clock.now += 60
    assert value("orchestrator_snapshot_age_seconds") == 60
    metrics.refresh()
    assert (value("orchestrator_copies_waiting"), value("orchestrator_copies_failing")) == (2, 2)
    assert 10_700 < (value("orchestrator_copy_expiry_seconds") or 0) <= 10_800


def test_who_does_not_lead_tells_of_itself_alone(database: Database) -> None:
    heartbeats = Heartbeats()
    heartbeats.beat(Loop.WATCH)
    metrics = Metrics(database, heartbeats, steps={"copy", "settle"})
    metrics.refresh()
    metrics.retire()
    names = {metric.name for metric in metrics.registry.collect() if metric.name.startswith("orchestrator")}
    assert names == {"orchestrator_leader", "orchestrator_loop_age_seconds", "orchestrator_works"}
    value = served(metrics)
    assert value("orchestrator_leader") == 0
    assert [value("orchestrator_works", step=step) for step in STEPS] == [0, 0, 1]


def test_what_happens_is_counted_once(database: Database) -> None:
    scope = make_batch(database)
    metrics = Metrics(database, Heartbeats())
    counts = metrics.counts
    follower = Follower(database, HAPPENINGS, [counts.note])
    charges = Follower(database, CHARGES, [counts.charge])
    follower.follow()
    charges.follow()
    with database.begin() as connection:
        made: dict[str, Any] = {"accepted_at": text("now() - interval '25 seconds'"), "polls": 4}
        submission = put_submission(connection, BATCH, scope.account_pk, "accepted", **made)
        force_jobs(connection, BATCH, [JobState.GENERATING, JobState.GENERATING], submission)
        of_batch = update(jobs).where(jobs.c.batch_id == BATCH)
        expiry = text("now() + interval '72 hours' - interval '3 seconds'")
        moved = of_batch.where(jobs.c.ordinal == 0).values(state="copying").returning(jobs.c.pk)
        put_asset(connection, connection.execute(moved).scalar_one(), source_expires_at=expiry)
        connection.execute(of_batch.where(jobs.c.ordinal == 0).values(state="completed"))
        connection.execute(of_batch.where(jobs.c.ordinal == 1).values(state="failed", error={"code": "moderation"}))
        entry = {
            "at": text("now()"), "day": text("current_date"), "account_pk": scope.account_pk,
            "batch_id": BATCH, "submission_id": submission, "amount": PRICE, "usd_per_credit": 1,
            "job_pk": connection.execute(text("SELECT min(pk) FROM job")).scalar_one(),
        }  # fmt: skip
        reserve = {"kind": EntryKind.RESERVE, "from_book": Book.AVAILABLE, "to_book": Book.RESERVED}
        connection.execute(insert(ledger).values(entry | reserve))
        connection.execute(
            insert(ledger).values(entry | {"kind": EntryKind.CHARGE, "from_book": Book.RESERVED, "to_book": Book.SPENT})
        )
    for _ in range(2):
        for each in (follower, charges):
            each.follow()
    metrics.refresh()
    value = served(metrics)
    assert value("orchestrator_jobs_ended_total", state="completed") == 1
    assert value("orchestrator_job_errors_total", error="moderation") == 1
    assert value("orchestrator_generation_seconds_bucket", model="gen", le="20.0") == 0
    assert value("orchestrator_generation_seconds_bucket", model="gen", le="30.0") == 1
    assert value("orchestrator_polls_per_job_sum") == 4
    assert value("orchestrator_detection_lag_seconds_count") == 1
    assert (value("orchestrator_detection_lag_seconds_sum") or 0) >= 3
    assert value("orchestrator_charged_total", payment="credits", unit="credits", book="spent") == float(PRICE)


def test_books_that_do_not_balance_are_seen_and_seen_to_be_right_again(database: Database) -> None:
    make_batch(database)
    watch = LedgerWatch(database, monotonic=(clock := Clock()))
    watch.look()
    assert watch.unbalanced() == 0
    with database.begin() as connection:
        connection.execute(update(jobs).where(jobs.c.ordinal == 0).values(spent=PRICE))
    watch.look()
    assert watch.unbalanced() == 0, "it looked a moment ago"
    assert watch.too_large() == 0
    clock.now += 60
    watch.look()
    assert watch.unbalanced() == 1
    with database.begin() as connection:
        connection.execute(update(jobs).where(jobs.c.ordinal == 0).values(spent=None))
    clock.now += 60
    watch.look()
    assert watch.unbalanced() == 0


def test_transitions_of_jobs_and_batches_are_told_with_their_ids(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    scope = make_batch(database)
    claim(database, scope, limit=1)
    follower = Follower(database, HAPPENINGS, [tell])
    with caplog.at_level("INFO", logger="orchestrator.events"):
        follower.follow()
    lines = [json.loads(JsonFormatter(redactor([])).format(record)) for record in caplog.records]
    assert [line["event"] for line in lines] == ["batch-running", "job-submitted"]
    (told,) = (line for line in lines if "job" in line)
    assert (told["batch"], told["job"], told["model"]) == (BATCH, "job-0", "gen")
    assert (told["from_state"], told["state"], told["level"]) == ("pending", "submitting", "info")


def test_books_too_large_to_be_audited_all_the_time_are_left_to_a_person(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_batch(database, jobs=200)
    with database.begin() as connection:
        assert audit.audit_briefly(connection, BATCH) == []
    monkeypatch.setattr(audit, "audit_briefly", partial(audit.audit_briefly, milliseconds=1))
    watch = LedgerWatch(database, monotonic=(clock := Clock()))
    watch.look()
    assert watch.too_large() == 1
    monkeypatch.undo()
    clock.now += 1800
    watch.look()
    assert watch.too_large() == 1
    clock.now += 1801
    watch.look()
    assert (watch.too_large(), watch.unbalanced()) == (0, 0)


def test_no_query_reads_a_whole_table_that_grows_with_the_jobs(database: Database) -> None:
    queries = [query for room in (store_metrics, event_tail) for query in vars(room).values()]
    words = {"running": "running", "punctual": timedelta(), "after": 1, "up_to": 9, "page": 1, "seconds": 5}
    with database.begin() as connection:
        connection.execute(text("SET LOCAL enable_seqscan = off"))  # where an index can serve, it does
        for query in queries:
            if isinstance(query, TextClause):
                explain = text(f"EXPLAIN {query.text}")
                values = {word: value for word, value in words.items() if f":{word}" in query.text}
                plan = "\n".join(connection.execute(explain, values).scalars())
                assert not re.search(r"Seq Scan on (?!batch|account|schedule\b|hold)", plan), plan
