"""The ledger: where each credit is after every transition, in windows that the reserve fixes, on a real Postgres."""

from collections import defaultdict
from decimal import Decimal
from uuid import uuid4

import pytest
from sqlalchemy import func, select, text, update

from orchestrator.base.states import EntryKind, JobState, SubmissionState
from orchestrator.store import ledger, polling, sending
from orchestrator.store.accounts import Scope
from orchestrator.store.budgets import account_caps, committed_credits
from orchestrator.store.claims import ClaimedSubmission, claim_submissions
from orchestrator.store.database import Connection, Database
from orchestrator.store.leases import Lease, rescue
from orchestrator.store.polling import ItemOutcome
from orchestrator.store.tables import accounts, batches, holds, jobs, usages
from orchestrator.store.tables import ledger as entries

from .store_rows import make_batch, mark_sent, record_accepted

BATCH = "things-20261122-0001"
PRICE = Decimal(3)


def claim(database: Database, scope: Scope, limit: int = 10) -> list[ClaimedSubmission]:
    with database.begin() as connection:
        return claim_submissions(connection, scope, lease=Lease(uuid4(), 1, 60), limit=limit, max_in_flight=1000)


def sent(database: Database, scope: Scope) -> ClaimedSubmission:
    work = claim(database, scope, 1)[0]
    with database.begin() as connection:
        assert mark_sent(connection, work.id, work.token)
    return work


def accepted(database: Database, scope: Scope) -> ClaimedSubmission:
    work = sent(database, scope)
    with database.begin() as connection:
        assert accept(connection, work)
    return work


def accept(connection: Connection, work: ClaimedSubmission) -> bool:
    return record_accepted(
        connection,
        work.id,
        request_id=str(uuid4()),
        provider_status="queued",
        answer={},
        poll_in_seconds=1,
    )


def books(database: Database) -> dict[str, Decimal]:
    """What is in each book, without what is left over in `available` (it is counted from zero)."""
    found: dict[str, Decimal] = defaultdict(Decimal)
    with database.begin() as connection:
        for row in connection.execute(select(entries)):
            found[row.from_book] -= row.amount
            found[row.to_book] += row.amount
        assert sum(found.values()) == 0
        committed = -found.pop("available", Decimal(0))
        assert committed_credits(connection, BATCH) == committed
    return {book: amount for book, amount in found.items() if amount}


def outcome(state: JobState, spent: str) -> ItemOutcome:
    error = {"code": "provider-failed"} if state is JobState.FAILED else None
    return ItemOutcome(0, state, Decimal(spent), error=error)


def test_a_claim_reserves_what_its_jobs_cost(database: Database) -> None:
    claim(database, make_batch(database, jobs=3))
    assert books(database) == {"reserved": 9}


@pytest.mark.parametrize(
    ("spent", "expected"),
    [("3", {"spent": 3}), ("2.5", {"spent": Decimal("2.5")}), ("0", {}), ("4.5", {"spent": Decimal("4.5")})],
)
def test_a_charge_settles_the_reserve_whatever_it_was(
    database: Database, spent: str, expected: dict[str, Decimal]
) -> None:
    work = accepted(database, make_batch(database, jobs=1))
    for _ in range(2):  # the second time changes nothing
        with database.begin() as connection:
            polling.record_outcomes(connection, {work.id: [outcome(JobState.FAILED, spent)]})
            polling.resolve_finished(connection, {work.id: "failed"})
    assert books(database) == expected
    with database.begin() as connection:
        assert connection.execute(select(jobs.c.spent)).scalar_one() == Decimal(spent)


def test_a_second_attempt_adds_to_what_the_job_spent(database: Database) -> None:
    scope = make_batch(database, jobs=1)
    for _ in range(2):
        work = accepted(database, scope)
        with database.begin() as connection:
            polling.record_outcomes(connection, {work.id: [outcome(JobState.FAILED, "3")]})
            polling.resolve_finished(connection, {work.id: "failed"})
            connection.execute(update(jobs).values(state=JobState.PENDING))
    assert books(database) == {"spent": 6}
    with database.begin() as connection:
        assert connection.execute(select(jobs.c.spent)).scalar_one() == 6


def test_what_was_not_sent_or_refused_is_released(database: Database) -> None:
    scope = make_batch(database, jobs=2)
    first = claim(database, scope, 1)[0]
    with database.begin() as connection:
        assert sending.take_back(connection, first.id, first.token, reason="stopped")
    assert books(database) == {}
    work = sent(database, scope)
    with database.begin() as connection:
        sending.record_rejected(
            connection, work.id, work.token, end=SubmissionState.REFUSED, answer={}, error={"code": "rejected-input"}
        )
    assert books(database) == {}


def test_doubt_and_a_late_answer(database: Database) -> None:
    work = sent(database, make_batch(database, jobs=1))
    with database.begin() as connection:
        assert sending.record_unknown(connection, work.id, work.token, {})
    assert books(database) == {"in_doubt": 3}
    with database.begin() as connection:
        assert accept(connection, work)
    assert books(database) == {"reserved": 3}


def test_doubt_ends_as_loss_or_released(database: Database) -> None:
    scope = make_batch(database, jobs=2)
    works = [sent(database, scope), sent(database, scope)]
    with database.begin() as connection:
        for work in works:
            sending.record_unknown(connection, work.id, work.token, {})
        ledger.move(connection, EntryKind.LOSS, [works[0].id])
        ledger.move(connection, EntryKind.LOSS, [works[0].id])
        ledger.move(connection, EntryKind.RELEASE, [works[1].id])
    assert books(database) == {"lost": 3}
    with database.begin() as connection:
        ledger.move(connection, EntryKind.REFUND, [works[0].id])
    assert books(database) == {}


def test_a_dead_worker_leaves_no_reserve_behind(database: Database) -> None:
    scope = make_batch(database, jobs=2)
    claim(database, scope, 1)
    sent(database, scope)
    with database.begin() as connection:
        assert rescue(connection).doubtful_batches == {BATCH}
    assert books(database) == {"in_doubt": 3}


def test_a_job_without_a_price_needs_no_reserve_and_its_charge_counts(database: Database) -> None:
    scope = make_batch(database, jobs=1)
    with database.begin() as connection:
        connection.execute(update(jobs).values(estimate=0))
    work = accepted(database, scope)
    assert books(database) == {}
    with database.begin() as connection:
        polling.record_outcomes(connection, {work.id: [outcome(JobState.FAILED, "2")]})
    assert books(database) == {"spent": 2}


def test_a_release_counts_in_the_window_of_its_reserve(database: Database) -> None:
    scope = make_batch(database, jobs=1)
    work = accepted(database, scope)
    with database.begin() as connection:
        connection.execute(text("UPDATE ledger SET day = day - 40"))
        connection.execute(text("UPDATE usage SET day = day - 40"))
        polling.record_outcomes(connection, {work.id: [outcome(JobState.FAILED, "1")]})
        days = connection.execute(select(func.count(entries.c.day.distinct()))).scalar_one()
        connection.execute(
            update(accounts).values(daily_cap=5, daily_unit="credits", monthly_cap=1, monthly_unit="usd")
        )
        caps = account_caps(connection, scope.account_pk)
    assert days == 1
    assert [(cap.window, cap.left) for cap in caps] == [("daily", 5), ("monthly", 1)]


@pytest.mark.parametrize(
    ("cap", "fits"),
    [({"daily_cap": 7, "daily_unit": "credits"}, 2), ({"monthly_cap": Decimal("0.0156"), "monthly_unit": "usd"}, 1)],
)
def test_a_cap_holds_over_all_batches_of_the_account(database: Database, cap: dict[str, object], fits: int) -> None:
    scope = make_batch(database, jobs=5)
    make_batch(database, "other-1", jobs=5)
    with database.begin() as connection:
        connection.execute(update(accounts).values(cap))
    claimed = sum(len(claim(database, Scope(scope.account_pk), 4)) for _ in range(4))
    assert claimed == fits
    with database.begin() as connection:
        held = connection.execute(select(holds)).all()
    assert {(hold.batch_id, hold.code, hold.blocking) for hold in held} == {
        (BATCH, "budget-reached", True),
        ("other-1", "budget-reached", True),
    }
    assert "cap of" in held[0].message


def test_usage_is_folded_and_stays_exact(database: Database) -> None:
    scope = make_batch(database, jobs=200, budget=1000)
    for _ in range(100):
        claim(database, scope, 2)
    with database.begin() as connection:
        assert committed_credits(connection, BATCH) == 600
        assert connection.execute(select(func.count()).select_from(usages)).scalar_one() < 70


def test_an_answer_recorded_again_is_still_recorded(database: Database) -> None:
    work = sent(database, make_batch(database, jobs=1))
    for _ in range(2):  # the second time because the COMMIT of the first one lost its answer
        with database.begin() as connection:
            assert record_accepted(
                connection, work.id, request_id="one", provider_status=None, answer={}, poll_in_seconds=1
            )
    assert books(database) == {"reserved": 3}


@pytest.mark.parametrize("values", [{"state": "paused"}, {"cancelled_at": text("orchestrator_now()")}])
def test_what_was_claimed_is_not_sent_after_a_pause_or_a_cancel(database: Database, values: dict[str, object]) -> None:
    work = claim(database, make_batch(database, jobs=1))[0]
    with database.begin() as connection:
        connection.execute(update(batches).values(values))
        assert not mark_sent(connection, work.id, work.token)
        assert sending.take_back(connection, work.id, work.token, reason="paused")
    assert books(database) == {}
