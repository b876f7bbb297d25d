"""Pausing and cancelling: what is not sent stops, what was paid for goes on; and the careful start."""

from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import select, text, update

from orchestrator.base.errors import UsageError
from orchestrator.base.states import BatchState, HoldCode, SubmissionState
from orchestrator.store import batches as store
from orchestrator.store import careful_start, reads, settling
from orchestrator.store.accounts import Scope
from orchestrator.store.database import Database
from orchestrator.store.holds import put_hold
from orchestrator.store.tables import batches, holds, jobs

from .store_rows import claim, force_jobs, freeze, job_states, make_batch, put_submission, row

BATCH = "things-20261122-0001"


def arrange(database: Database, states: str, *codes: HoldCode, **values: Any) -> Scope:
    """A running batch with jobs in these states, these holds, and these values of its own."""
    words = states.split()
    scope = make_batch(database, BATCH, jobs=len(words))
    with database.begin() as connection:
        force_jobs(
            connection, BATCH, words, put_submission(connection, BATCH, scope.account_pk, SubmissionState.ACCEPTED)
        )
        connection.execute(update(jobs).where(jobs.c.state == "waiting").values(waits_for="canary"))
        for code in codes:
            put_hold(connection, BATCH, code, "why", "what to do")
        if values:
            connection.execute(update(batches).values(values))
    return scope


def at_work(database: Database, scope: Scope) -> bool:
    with database.begin() as connection:
        return settling.any_at_work(connection, scope)


def settle(database: Database, scope: Scope) -> str:
    """The batch's state after the settle step."""
    with database.begin() as connection:
        for batch_id in settling.unsettled_batches(connection, scope):
            settling.settle_batch(connection, batch_id)
        assert settling.unsettled_batches(connection, scope) == []
    return str(row(database, batches).state)


def hold(database: Database) -> Any:
    """The only hold, or None."""
    with database.begin() as connection:
        return connection.execute(select(holds)).one_or_none()


@pytest.mark.parametrize(
    ("states", "codes", "moves"),
    [
        ("pending", (), False),
        ("waiting pending in_doubt completed", (), False),
        ("pending submitting", (), True),
        ("pending generating", (), True),
        ("copying", (HoldCode.DESTINATION_FAILING,), False),
        ("generating", (HoldCode.PROVIDER_REFUSING,), False),
        ("generating pending", (HoldCode.BUDGET_REACHED,), True),
    ],
)
def test_a_paused_batch_is_worked_while_what_was_paid_for_moves(
    database: Database, states: str, codes: tuple[HoldCode, ...], moves: bool
) -> None:
    scope = arrange(database, states, *codes)
    with database.begin() as connection:
        assert store.pause_batch(connection, BATCH) is BatchState.PAUSED
    assert (at_work(database, scope), settle(database, scope)) == (moves, "paused")
    assert claim(database, scope) == []
    before = freeze(database)
    with database.begin() as connection:
        assert store.pause_batch(connection, BATCH) is BatchState.PAUSED
    assert freeze(database) == before


def test_there_is_nothing_to_pause_or_cancel_in_a_batch_that_has_ended(database: Database) -> None:
    arrange(database, "completed failed", state="partial_failure", finished_at=text("now()"))
    with database.begin() as connection:
        for verb in (store.pause_batch, store.cancel_batch):
            with pytest.raises(UsageError, match=r"has ended \(partial failure\)"):
                verb(connection, BATCH)


@pytest.mark.parametrize(
    ("states", "codes", "after", "state"),
    [
        ("pending waiting", (), "cancelled cancelled", "cancelled"),
        ("pending completed", (HoldCode.BUDGET_REACHED,), "cancelled completed", "cancelled"),
        ("completed waiting", (HoldCode.CANARY,), "completed cancelled", "cancelled"),
        ("pending generating", (HoldCode.PRICE_CHANGED,), "cancelled generating", "running"),
        ("submitting pending", (HoldCode.STOP_WHEN,), "submitting cancelled", "running"),
        ("copying pending", (), "copying cancelled", "running"),
        ("in_doubt pending", (), "in_doubt cancelled", "held"),
        ("generating", (HoldCode.PROVIDER_REFUSING,), "generating", "held"),
    ],
)
@pytest.mark.parametrize("before", ["running", "paused", "held"])
def test_cancelling_takes_back_what_is_not_sent(
    database: Database, states: str, codes: tuple[HoldCode, ...], after: str, state: str, before: str
) -> None:
    scope = arrange(database, states, *codes, state=before)
    with database.begin() as connection:
        assert store.cancel_batch(connection, BATCH) == state
    assert job_states(database, BATCH) == after.split()
    assert settle(database, scope) == state
    left = hold(database)
    assert left is None or left.code in (HoldCode.IN_DOUBT, HoldCode.PROVIDER_REFUSING)
    unchanged = freeze(database)
    with database.begin() as connection:
        assert store.cancel_batch(connection, BATCH) == state
        with pytest.raises(UsageError, match="was cancelled"):
            store.pause_batch(connection, BATCH)
    assert freeze(database) == unchanged


def test_what_comes_back_to_a_cancelled_batch_is_cancelled(database: Database) -> None:
    """A POST that was under way may be refused for now, or a person say that it was not charged."""
    scope = arrange(database, "generating submitting")
    with database.begin() as connection:
        store.cancel_batch(connection, BATCH)
        connection.execute(update(jobs).where(jobs.c.ordinal == 1).values(state="pending"))
    assert claim(database, scope) == []
    assert settle(database, scope) == "running"
    assert job_states(database, BATCH) == ["generating", "cancelled"]
    with database.begin() as connection:
        assert store.resume_batch(connection, BATCH) is BatchState.RUNNING, "it only fetches"
        force_jobs(connection, BATCH, ["completed"], connection.execute(select(jobs.c.submission_id)).scalars().first())
    assert settle(database, scope) == "cancelled"
    assert row(database, batches).finished_at is not None


def test_canaries_that_are_over_hold_the_batch_and_tell_what_they_cost(database: Database) -> None:
    scope = arrange(database, "completed failed waiting waiting")
    with database.begin() as connection:
        connection.execute(update(jobs).where(jobs.c.state == "completed").values(spent=Decimal("3.5")))
    assert settle(database, scope) == "held"
    found = hold(database)
    assert (found.code, found.blocking, found.command) == ("canary", False, f"orchestrator approve {BATCH}")
    assert found.message == (
        "gen: 2 jobs, 1 failed, 3.5 credits spent, 6 estimated; 2 jobs of 6 credits wait for approval"
    )
    with database.begin() as connection:
        waiting = connection.execute(select(jobs.c.pk).where(jobs.c.state == "waiting").limit(1)).scalars().all()
        assert careful_start.release_waiting(connection, BATCH, waiting) == 1
        assert careful_start.release_waiting(connection, BATCH, waiting) == 0
    assert (settle(database, scope), hold(database)) == ("running", None)
    assert len(claim(database, scope)) == 1


@pytest.mark.parametrize("state", ["pending", "submitting", "generating", "copying"])
def test_canaries_under_way_are_waited_for(database: Database, state: str) -> None:
    scope = arrange(database, f"{state} completed waiting")
    with database.begin() as connection:
        connection.execute(update(jobs).values(copy_failures=0))
    assert (settle(database, scope), hold(database)) == ("running", None)


@pytest.mark.parametrize(
    ("failed", "done", "unsent", "share", "stops"),
    [
        (2, 0, 18, "0.2", False),  # of at least ten
        (3, 0, 17, "0.2", True),
        (3, 12, 5, "0.2", False),
        (4, 15, 5, "0.2", True),
        (1, 0, 3, "0.2", True),  # of all four
        (1, 1, 1, "0.34", False),
        (3, 0, 0, "0.2", False),  # nothing is left to stop
        (1, 0, 20, "0", True),
        (3, 0, 17, None, False),
    ],
)
def test_too_many_failures_stop_the_sending(
    database: Database, failed: int, done: int, unsent: int, share: str | None, stops: bool
) -> None:
    states = ["rejected"] * (failed // 2) + ["failed"] * (failed - failed // 2) + ["completed"] * done
    scope = arrange(
        database,
        " ".join([*states, *["pending"] * unsent]),
        stop_when_failed_over=None if share is None else Decimal(share),
    )
    state = settle(database, scope)
    assert (state == "held") == stops
    if stops:
        assert (hold(database).code, hold(database).blocking) == ("stop-when", True)
        assert claim(database, scope) == []


def test_what_was_forgiven_does_not_stop_it_again(database: Database) -> None:
    states = ["failed"] * 3 + ["pending"] * 17
    scope = arrange(database, " ".join(states), stop_when_failed_over=Decimal("0.2"))
    assert settle(database, scope) == "held"
    assert "3 of 3 jobs failed" in hold(database).message
    with database.begin() as connection:
        assert store.resume_batch(connection, BATCH, forgive=False) is BatchState.HELD
    with database.begin() as connection:
        assert store.resume_batch(connection, BATCH) is BatchState.RUNNING
    assert (settle(database, scope), hold(database)) == ("running", None)
    with database.begin() as connection:
        force_jobs(connection, BATCH, ["failed"] * 5 + ["pending"] * 15, row_submission(connection))
    assert settle(database, scope) == "running", "two more, of ten"
    with database.begin() as connection:
        force_jobs(connection, BATCH, ["failed"] * 6 + ["pending"] * 14, row_submission(connection))
    assert settle(database, scope) == "held"
    assert "3 of 3 jobs failed" in hold(database).message


def row_submission(connection: Any) -> Any:
    return connection.execute(select(jobs.c.submission_id).where(jobs.c.submission_id.is_not(None))).scalars().first()


def test_resume_prices_only_what_it_can_send(database: Database) -> None:
    arrange(database, "pending waiting pending completed")
    with database.begin() as connection:
        connection.execute(update(jobs).where(jobs.c.ordinal == 2).values(price=5))
        assert reads.batch_header(connection, BATCH).unsent_credits == 8
        put_hold(connection, BATCH, HoldCode.BUDGET_REACHED, "why", "what")
        assert reads.batch_header(connection, BATCH).unsent_credits == 8
        put_hold(connection, BATCH, HoldCode.PRICE_CHANGED, "why", "what")
        assert reads.batch_header(connection, BATCH).unsent_credits == 0
