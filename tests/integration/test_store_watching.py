"""What is read of a batch for those who watch it, and for those who ask why it stands."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import insert, select, text, update

from orchestrator.base.states import HoldCode, JobState
from orchestrator.operations.watching import rest_seconds, watched_document
from orchestrator.operations.why import why_documents
from orchestrator.store import job_reads, leases, reads
from orchestrator.store.accounts import Scope
from orchestrator.store.database import Connection, Database
from orchestrator.store.holds import put_hold
from orchestrator.store.settling import note_doubt
from orchestrator.store.standing import read_standing
from orchestrator.store.tables import accounts, assets, job_needs, jobs, paces

from .store_rows import PRICE, claim, force_jobs, make_batch, put_submission

BATCH = "things-20261122-0001"


@pytest.fixture
def scope(database: Database) -> Scope:
    return make_batch(database, jobs=8, models=("gen", "film"), budget=100)


@contextmanager
def worker(database: Database, *, keys_of: int | None = None) -> Iterator[int]:
    session = leases.WorkerSession(database, keys_of=keys_of)
    try:
        yield session.ensure()
    finally:
        session.close()


def finish(connection: Connection, scope: Scope, name: str, *, seconds: float) -> None:
    """A job that was sent and has ended just now, as the transitions tell it."""
    submission = put_submission(connection, BATCH, scope.account_pk, "resolved")
    connection.execute(
        text("UPDATE submission SET sent_at = now() - make_interval(secs => :s) WHERE id = :id"),
        {"s": seconds, "id": submission},
    )
    for step in ("submitting", "generating", "copying", "completed"):
        ended = {"ended_at": text("now()")} if step == "completed" else {}
        values = {"state": step, "submission_id": submission, "position": 0} | ended
        connection.execute(update(jobs).where(jobs.c.batch_id == BATCH, jobs.c.name == name).values(values))


def document(database: Database) -> dict[str, Any]:
    with database.begin() as connection:
        return watched_document(connection, BATCH)


def why(database: Database) -> list[dict[str, Any]]:
    with database.begin() as connection:
        return why_documents(read_standing(connection, BATCH, max_in_flight=64))


def test_a_new_batch_has_no_pulse_yet(database: Database, scope: Scope) -> None:
    assert document(database)["progress"] == {
        "workers": 0, "senders": 0, "in_flight": 0, "next_poll_seconds": None, "ended_per_minute": None,
        "remaining_seconds": None, "typical_seconds": {}, "last_errors": [],
    }  # fmt: skip


def test_the_rest_is_told_by_what_was_seen(database: Database, scope: Scope) -> None:
    with worker(database), database.begin() as connection:
        finish(connection, scope, "job-0", seconds=20)
        finish(connection, scope, "job-2", seconds=40)
        finish(connection, scope, "job-1", seconds=100)
    with worker(database, keys_of=scope.account_pk), database.begin() as connection:
        accepted = put_submission(connection, BATCH, scope.account_pk, "accepted")
        connection.execute(
            text("UPDATE submission SET due_at = now() + interval '9 seconds' WHERE id = :id"), {"id": accepted}
        )
        force = update(jobs).where(jobs.c.batch_id == BATCH, jobs.c.name == "job-3")
        for state in ("submitting", "generating"):
            connection.execute(force.values(state=state, submission_id=accepted, position=0))
        progress = watched_document(connection, BATCH)["progress"]
    assert (progress["workers"], progress["senders"]) == (1, 1)
    assert progress["in_flight"] == 1
    assert 8 < progress["next_poll_seconds"] <= 9
    assert progress["typical_seconds"] == {"film": pytest.approx(100, abs=1), "gen": pytest.approx(30, abs=1)}
    assert progress["ended_per_minute"] > 0
    rest = progress["remaining_seconds"]
    assert 0 < rest["least"] <= 0.85 * (2 * 30 + 2 * 100) + 5  # 2 of each, one at once; less by the rate just now
    assert rest["most"] >= 1.15 * (2 * 30 + 2 * 100)


def test_models_not_seen_yet_are_known_from_earlier_batches(database: Database, scope: Scope) -> None:
    with database.begin() as connection:
        finish(connection, scope, "job-0", seconds=20)
        finish(connection, scope, "job-1", seconds=100)
        connection.execute(text("DELETE FROM event"))
    make_batch(database, "things-20261122-0002", models=("film",), account_pk=scope.account_pk)
    with database.begin() as connection:
        progress = watched_document(connection, "things-20261122-0002")["progress"]
    assert progress["typical_seconds"] == {"film": pytest.approx(100, abs=1)}


def test_the_last_errors_and_what_a_hold_is_about(database: Database, scope: Scope) -> None:
    with database.begin() as connection:
        force_jobs(connection, BATCH, ["rejected", "failed", "in_doubt"], put_submission(
            connection, BATCH, scope.account_pk, "unknown"
        ))  # fmt: skip
        connection.execute(update(jobs).where(jobs.c.name == "job-0").values(ended_at=text("now() - interval '1 h'")))
        connection.execute(update(jobs).where(jobs.c.name == "job-1").values(ended_at=text("now()")))
        put_hold(connection, BATCH, HoldCode.IN_DOUBT, "1 job", "orchestrator resolve", blocking=False)
        put_hold(connection, BATCH, HoldCode.BUDGET_REACHED, "no money", "orchestrator budget set")
    told = document(database)
    assert [(error["id"], error["state"]) for error in told["progress"]["last_errors"]] == [
        ("job-1", "failed"), ("job-0", "rejected"),
    ]  # fmt: skip
    assert {hold["code"]: (hold["at_stake"], hold["blocking"]) for hold in told["holds"]} == {
        "in-doubt": (str(PRICE), False),
        "budget-reached": (str(5 * PRICE), True),
    }
    assert told["progress"]["remaining_seconds"] is None


def test_files_that_are_not_stored_are_told_soon_and_no_time_is_promised(database: Database, scope: Scope) -> None:
    """Long before that is a hold: the second failure is told."""
    make_batch(database, "things-20261122-0002", account_pk=scope.account_pk)
    with worker(database):
        with database.begin() as connection:
            finish(connection, scope, "job-7", seconds=20)
            finish(connection, scope, "job-6", seconds=20)
            made = put_submission(connection, BATCH, scope.account_pk, "resolved")
            force_jobs(connection, BATCH, ["copying"] * 6, made)
            connection.execute(insert(assets).values(asset_of(connection, "job-0")))
            connection.execute(update(jobs).where(jobs.c.name == "job-0").values(copy_error="in the way"))
        told = document(database)
        assert (told["unstored"], told["progress"]["remaining_seconds"] is None) == (None, False)
        with database.begin() as connection:
            connection.execute(update(jobs).where(jobs.c.name.in_(["job-0", "job-1"])).values(copy_failures=2))
            assert reads.recent_batches(connection) == [BATCH, "things-20261122-0002"]
        told = document(database)
        assert told["progress"]["remaining_seconds"] is None
        found = told["unstored"]
        assert (found["jobs"], found["at_stake"], found["error"]) == (2, str(2 * PRICE), "in the way")
        assert [(row["code"], row["mover"]) for row in why(database)] == [("not-stored", "person")]


def asset_of(connection: Connection, job: str) -> dict[str, Any]:
    """A file that is fetched, and not stored."""
    pk = connection.execute(select(jobs.c.pk).filter_by(batch_id=BATCH, name=job)).scalar_one()
    source = {"source_url": "https://cdn.test/a.png", "source_expires_at": text("now() + interval '1 day'")}
    return source | {"job_pk": pk, "position": 0, "role": "original", "kind": "image", "tags": [], "sha256": "0" * 64}


def test_of_many_jobs_only_those_that_are_asked_for_are_read(database: Database, scope: Scope) -> None:
    with database.begin() as connection:
        lost = put_submission(connection, BATCH, scope.account_pk, "unknown")
        force_jobs(connection, BATCH, ["rejected", "failed", "in_doubt"], lost)
        assert [(job["id"], job["error"]) for job in job_reads.jobs_with_errors(connection, BATCH)] == [
            ("job-0", {"code": "unknown"}),
            ("job-1", {"code": "unknown"}),
        ]
        everything = {job["id"]: job for job in job_reads.job_documents(connection, BATCH)}
        assert len(everything) == 8
        assert everything["job-1"]["history"]
        assert job_reads.job_documents(connection, BATCH, state="failed") == [everything["job-1"]]
        by_error = job_reads.job_documents(connection, BATCH, error="unknown")
        assert by_error == [everything["job-0"], everything["job-1"]]


def test_an_outage_and_a_pause_are_told(database: Database, scope: Scope) -> None:
    soon = text("now() + interval '1 minute'")
    with database.begin() as connection:
        connection.execute(update(accounts).values(breaker_opened_at=text("now()"), breaker_probe_at=soon))
        pace = {"account_pk": scope.account_pk, "room": 4, "tokens": 1, "filled_at": text("now()"), "throttles": 1}
        connection.execute(insert(paces).values(pace | {"model": "gen", "paused_until": soon}))
        connection.execute(insert(paces).values(pace | {"model": "film", "paused_until": text("now()")}))
    provider = document(database)["provider"]
    assert provider["down_since"] is not None
    assert provider["next_probe_at"] > provider["down_since"]
    assert [pause["model"] for pause in provider["paused"]] == ["gen"]
    with worker(database, keys_of=scope.account_pk):
        assert [(row["code"], row["mover"]) for row in why(database)] == [("breaker", "worker")]


def test_without_the_accounts_keys_nobody_sends(database: Database, scope: Scope) -> None:
    with worker(database), worker(database, keys_of=scope.account_pk + 1):
        assert [(row["code"], row["mover"]) for row in why(database)] == [("no-worker", "nobody")]
        assert (document(database)["progress"]["workers"], document(database)["progress"]["senders"]) == (2, 0)
        with worker(database, keys_of=scope.account_pk), worker(database, keys_of=scope.account_pk):
            assert [row["code"] for row in why(database)] == ["turn"]


def test_the_command_for_doubts_names_a_job_however_many_there_are(database: Database, scope: Scope) -> None:
    with database.begin() as connection:
        lost = put_submission(connection, BATCH, scope.account_pk, "unknown", sent_at=text("now()"))
        force_jobs(connection, BATCH, ["in_doubt", "in_doubt"], lost)
        note_doubt(connection, BATCH)
        (hold,) = reads.batch_document(connection, BATCH)["holds"]
    assert f"{hold['command']} {hold['message']}".count(f"orchestrator resolve {BATCH} --job job-0 --as") == 1
    assert "or all of them with --all in place of --job job-0" in hold["message"]


def test_each_state_has_its_oldest_job_and_its_reason(database: Database, scope: Scope) -> None:
    with worker(database, keys_of=scope.account_pk) as number:
        [work] = claim(database, scope, owner=number, limit=1)
        with database.begin() as connection:
            made = put_submission(
                connection, BATCH, scope.account_pk, "accepted", due_at=text("now() + interval '9 s'")
            )
            force_jobs(connection, BATCH, ["submitting", "generating", "copying", "in_doubt", "waiting"], made)
            connection.execute(update(jobs).where(jobs.c.name == "job-0").values(submission_id=work.id))
            pks = {row.name: row.pk for row in connection.execute(text("SELECT name, pk FROM job"))}
            connection.execute(update(jobs).where(jobs.c.name == "job-4").values(waits_for="dependency"))
            need = {"job_pk": pks["job-4"], "needed_pk": pks["job-1"], "role": "original"}
            connection.execute(insert(job_needs).values(need))
        told = {row["state"]: row for row in why(database)}
    assert {state: (row["jobs"], row["job"], row["code"]) for state, row in told.items()} == {
        "waiting": (1, "job-4", "dependency"),
        "pending": (3, "job-5", "turn"),
        "submitting": (1, "job-0", "at-work"),
        "generating": (1, "job-1", "poll"),
        "copying": (1, "job-2", "copy"),
        "in_doubt": (1, "job-3", "in-doubt"),
    }
    assert told["waiting"]["waits_for"] == "it needs job-1 (generating)"
    assert told["generating"]["until"] is not None
    assert {row["state"]: row["mover"] for row in why(database) if row["mover"] != "nobody"} == {
        "waiting": "job", "in_doubt": "person",
    }  # fmt: skip


def test_when_all_places_are_taken_the_provider_moves_it_on(database: Database, scope: Scope) -> None:
    with worker(database, keys_of=scope.account_pk) as number:
        claim(database, scope, owner=number, limit=2)
        with database.begin() as connection:
            told = why_documents(read_standing(connection, BATCH, max_in_flight=2))
    assert {row["state"]: row["code"] for row in told}[JobState.PENDING] == "in-flight"


def test_reading_takes_a_small_share_of_the_time() -> None:
    assert rest_seconds(0.05) == pytest.approx(1)
    assert rest_seconds(0.002) == pytest.approx(0.04)
    assert rest_seconds(60) == 5
