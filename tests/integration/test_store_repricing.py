"""A charge above the reserve: what is re-priced, what is held, and what may be overspent, on a real Postgres."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import func, select, update

from orchestrator.base.states import Book, JobState
from orchestrator.store import ledger, polling, sending
from orchestrator.store.audit import audit
from orchestrator.store.budgets import committed_credits
from orchestrator.store.claims import ClaimedSubmission
from orchestrator.store.database import Database
from orchestrator.store.polling import ItemOutcome
from orchestrator.store.tables import batches, holds, jobs, submissions
from orchestrator.store.tables import ledger as entries

from .store_rows import PRICE, account, claim, make_batch, mark_sent, record_accepted, row

BATCH = "things-20261122-0001"


def accept(database: Database, work: ClaimedSubmission) -> None:
    with database.begin() as connection:
        assert mark_sent(connection, work.id, work.token)
        assert record_accepted(
            connection, work.id, request_id=str(work.id), provider_status="queued", answer={}, poll_in_seconds=1
        )


def put_in_doubt(database: Database, work: ClaimedSubmission) -> None:
    with database.begin() as connection:
        assert mark_sent(connection, work.id, work.token)
        assert sending.record_unknown(connection, work.id, work.token, {})


def finish(database: Database, work: ClaimedSubmission, *charges: str, is_told: bool = True) -> None:
    outcomes = [
        ItemOutcome(
            position,
            JobState.FAILED,
            Decimal(charge),
            error={"code": "provider-failed", "charged": True},
            is_told=is_told,
        )
        for position, charge in enumerate(charges)
    ]
    with database.begin() as connection:
        polling.record_outcomes(connection, {work.id: outcomes})
        polling.resolve_finished(connection, {work.id: "completed"})


def change(database: Database, name: str, **values: Any) -> None:
    with database.begin() as connection:
        connection.execute(update(jobs).where(jobs.c.name == name).values(values))


def prices(database: Database, batch_id: str = BATCH) -> list[Decimal | None]:
    with database.begin() as connection:
        found = select(jobs.c.price).where(jobs.c.batch_id == batch_id).order_by(jobs.c.ordinal)
        return list(connection.execute(found).scalars())


def held(database: Database) -> dict[str, str]:
    """The message of each batch that is held for its prices."""
    with database.begin() as connection:
        found = connection.execute(select(holds).where(holds.c.code == "price-changed")).all()
    assert all(hold.blocking and hold.command == f"orchestrator approve {hold.batch_id}" for hold in found)
    return {hold.batch_id: hold.message for hold in found}


def assert_balanced(database: Database) -> None:
    with database.begin() as connection:
        assert audit(connection) == []


def test_all_open_reserves_and_unsent_prices_follow_the_first_charge(database: Database) -> None:
    scope = make_batch(database, jobs=6)
    first, submitting, generating, doubtful = claim(database, scope, limit=4)
    for work in (first, generating):
        accept(database, work)
    put_in_doubt(database, doubtful)
    finish(database, first, "4.5")
    assert prices(database) == [Decimal("4.5")] * 6
    for work, book in ((submitting, Book.RESERVED), (generating, Book.RESERVED), (doubtful, Book.IN_DOUBT)):
        with database.begin() as connection:
            assert ledger.in_book(connection, work.id, book) == Decimal("4.5")
        assert row(database, submissions, id=work.id).reserved == Decimal("4.5")
    assert held(database) == {
        BATCH: "gen was charged 4.5 credits, not 3: its 2 jobs left would cost 9 credits, not 6",
    }
    assert claim(database, scope) == []
    assert_balanced(database)


def test_a_rise_within_the_tolerance_holds_nothing(database: Database) -> None:
    scope = make_batch(database, jobs=3)
    with database.begin() as connection:
        connection.execute(update(batches).values(price_tolerance=Decimal("0.1")))
    work = claim(database, scope, limit=1)[0]
    accept(database, work)
    finish(database, work, "3.3")
    assert (prices(database), held(database)) == ([Decimal("3.3")] * 3, {})
    assert sum(1 for _ in claim(database, scope)) == 2
    assert_balanced(database)


def test_prices_that_creep_up_are_measured_by_the_estimate(database: Database) -> None:
    scope = make_batch(database, jobs=4)
    with database.begin() as connection:
        connection.execute(update(batches).values(price_tolerance=Decimal("0.1")))
    one, two = claim(database, scope, limit=2)
    for work, charge, expected in ((one, "3.3", {}), (two, "3.5", {BATCH})):
        accept(database, work)
        finish(database, work, charge)
        assert set(held(database)) == set(expected)


@pytest.mark.parametrize("charge", ["3", "2", "0"])
def test_a_charge_up_to_the_reserve_changes_no_price(database: Database, charge: str) -> None:
    scope = make_batch(database, jobs=2)
    work = claim(database, scope, limit=1)[0]
    accept(database, work)
    finish(database, work, charge)
    assert (prices(database), held(database)) == ([None, None], {})
    with database.begin() as connection:
        assert committed_credits(connection, BATCH) == Decimal(charge)


def test_a_charge_that_nobody_named_changes_no_price(database: Database) -> None:
    scope = make_batch(database, jobs=2)
    work = claim(database, scope, limit=1)[0]
    accept(database, work)
    finish(database, work, "9", is_told=False)
    assert (prices(database), held(database)) == ([None, None], {})


def test_other_estimates_of_the_model_rise_in_proportion_and_other_models_do_not(database: Database) -> None:
    scope = make_batch(database, jobs=5)
    change(database, "job-1", estimate=Decimal(10))
    change(database, "job-2", estimate=Decimal("0.1"))
    change(database, "job-3", model="another")
    change(database, "job-4", price=Decimal(7))
    work = claim(database, scope, limit=1)[0]
    accept(database, work)
    finish(database, work, "4")
    assert prices(database) == [4, Decimal("13.4"), Decimal("0.2"), None, 7]
    assert_balanced(database)


def test_it_concerns_all_batches_of_the_account_and_no_other_account(database: Database) -> None:
    work = claim(database, make_batch(database, jobs=1))[0]
    make_batch(database, "other", jobs=1, name="other")
    make_batch(database, "waiting", jobs=1, name="waiting")
    make_batch(database, "elsewhere", jobs=1, name="elsewhere", account_pk=account(database, "credits:other"))
    with database.begin() as connection:
        connection.execute(update(jobs).where(jobs.c.batch_id == "waiting").values(state=JobState.WAITING))
    accept(database, work)
    finish(database, work, "4")
    assert set(held(database)) == {"other", "waiting"}, "the first batch has nothing left to send"
    assert prices(database, "elsewhere") == [None]


def test_what_was_free_and_is_charged_is_known_for_its_like(database: Database) -> None:
    scope = make_batch(database, jobs=3)
    for name in ("job-0", "job-1"):
        change(database, name, estimate=Decimal(0))
    work = claim(database, scope, limit=1)[0]
    accept(database, work)
    finish(database, work, "2")
    assert prices(database) == [2, 2, None]
    assert set(held(database)) == {BATCH}
    assert_balanced(database)


def test_the_dearest_item_of_a_bundle_counts(database: Database) -> None:
    one, two = claim(database, make_batch(database, jobs=4, bundle=2))
    for work in (one, two):
        accept(database, work)
    finish(database, one, "4", "5")
    assert prices(database) == [5, 5, 5, 5]
    assert row(database, submissions, id=two.id).reserved == 10
    finish(database, two, "5", "3")
    assert_balanced(database)


def test_later_days_count_where_the_first_reserve_counted(database: Database) -> None:
    scope = make_batch(database, jobs=2)
    one, two = claim(database, scope)
    for work in (one, two):
        accept(database, work)
    with database.begin() as connection:
        connection.execute(update(entries).values(day=entries.c.day - 1))
    finish(database, one, "4")
    with database.begin() as connection:
        assert connection.execute(select(func.count(entries.c.day.distinct()))).scalar_one() == 1


def test_eight_workers_overspend_by_no_more_than_was_in_flight(database: Database) -> None:
    """Every job costs twice what it was estimated at, and eight workers claim and finish them at the same time."""
    workers, budget = 8, 60
    scope = make_batch(database, jobs=100, budget=budget)
    with database.begin() as connection:
        connection.execute(update(batches).values(price_tolerance=Decimal(1)))
    start = Barrier(workers)

    def is_held() -> bool:
        with database.begin() as connection:
            return connection.execute(select(holds.c.code)).first() is not None

    def work_off() -> int:
        start.wait()
        done = 0
        while not is_held():
            for work in claim(database, scope, limit=1, max_in_flight=workers):
                accept(database, work)
                finish(database, work, "6")
                done += 1
        return done

    with ThreadPoolExecutor(workers) as threads:
        finished = sum(found.result() for found in [threads.submit(work_off) for _ in range(workers)])
    with database.begin() as connection:
        committed = committed_credits(connection, BATCH)
    assert committed == finished * 6
    assert budget - 6 < committed <= budget + workers * PRICE
    assert_balanced(database)


def test_charges_at_the_same_time_re_price_once_and_without_deadlock(database: Database) -> None:
    scope = make_batch(database, jobs=40)
    claimed = claim(database, scope, limit=32)
    for work in claimed:
        accept(database, work)
    start = Barrier(8)

    def finish_all(share: Sequence[ClaimedSubmission]) -> None:
        start.wait()
        for work in share:
            finish(database, work, "5")

    with ThreadPoolExecutor(8) as threads:
        for found in [threads.submit(finish_all, claimed[number::8]) for number in range(8)]:
            found.result()
    assert prices(database) == [5] * 40
    with database.begin() as connection:
        more = connection.execute(
            select(func.sum(entries.c.amount)).where(entries.c.kind == "reserve", entries.c.from_book == "available")
        ).scalar_one()
    assert more == 32 * 5
    assert_balanced(database)
