"""Claims by many at once: nothing twice, nothing past a cap, and only through the indexes made for them."""

import random
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest
from sqlalchemy import func, select, text, update

from orchestrator.base.states import BLOCKING_HOLDS, HoldCode, JobState, SubmissionState
from orchestrator.store import claims, free_claims, sending
from orchestrator.store.accounts import Scope, lock_account
from orchestrator.store.budgets import committed_credits
from orchestrator.store.claims import ClaimedSubmission
from orchestrator.store.database import Database
from orchestrator.store.holds import put_hold
from orchestrator.store.leases import Lease
from orchestrator.store.tables import batches, holds, jobs, submissions

from .store_rows import (
    PRICE,
    account,
    claim,
    force_jobs,
    freeze,
    job_states,
    make_batch,
    mark_sent,
    put_submission,
    record_accepted,
    row,
)

BATCH = "things-20261122-0001"
THREADS = 8


def all_at_once(work: Callable[[int], None]) -> None:
    """Run `work` in 8 threads that start together."""
    gate = threading.Barrier(THREADS)

    def run(number: int) -> None:
        gate.wait()
        work(number)

    with ThreadPoolExecutor(THREADS) as threads:
        list(threads.map(run, range(THREADS)))


def accept(database: Database, submission: ClaimedSubmission) -> None:
    with database.begin() as connection:
        assert mark_sent(connection, submission.id, submission.token)
        assert record_accepted(
            connection,
            submission.id,
            request_id=f"r-{submission.id}",
            provider_status="queued",
            answer={},
            poll_in_seconds=0,
        )


def refuse(database: Database, submission: ClaimedSubmission) -> None:
    with database.begin() as connection:
        assert sending.record_rejected(
            connection,
            submission.id,
            submission.token,
            end=SubmissionState.NOT_SENT,
            answer={},
            error={"code": "unknown"},
        )


def in_flight(database: Database) -> int:
    with database.begin() as connection:
        states = [JobState.SUBMITTING, JobState.GENERATING]
        return int(connection.execute(select(func.count()).where(jobs.c.state.in_(states))).scalar_one())


def test_eight_threads_share_500_jobs_without_giving_one_twice(database: Database) -> None:
    scope = make_batch(database, jobs=500)
    claimed: Counter[str] = Counter()

    def work(number: int) -> None:
        dice = random.Random(number)
        while "pending" in job_states(database, BATCH):
            batch = claim(database, scope, owner=number + 1, limit=dice.randint(1, 20), max_in_flight=10_000)
            claimed.update(job.name for submission in batch for job in submission.jobs)

    all_at_once(work)
    assert claimed == Counter(f"job-{n}" for n in range(500))
    assert set(job_states(database, BATCH)) == {"submitting"}


def test_eight_threads_never_pass_the_places_at_the_provider(database: Database) -> None:
    scope = make_batch(database, jobs=150)
    most = [0]

    def work(number: int) -> None:
        while "pending" in job_states(database, BATCH):
            for submission in claim(database, scope, owner=number + 1, limit=4, max_in_flight=7):
                most.append(in_flight(database))
                refuse(database, submission)

    all_at_once(work)
    assert 1 < max(most) <= 7
    assert job_states(database, BATCH) == ["rejected"] * 150


def test_eight_threads_never_pass_the_budget(database: Database) -> None:
    scope = make_batch(database, jobs=200, budget=100)  # 33 jobs of 3 credits
    claims_of: Counter[int] = Counter()

    def work(number: int) -> None:
        while claim(database, scope, owner=number + 1, limit=2, max_in_flight=10_000):
            claims_of[number] += 1

    all_at_once(work)
    assert len(claims_of) > 1
    assert Counter(job_states(database, BATCH)) == {"submitting": 33, "pending": 167}
    with database.begin() as connection:
        assert committed_credits(connection, BATCH) == 99
    assert row(database, holds).code == HoldCode.BUDGET_REACHED


def test_a_claim_need_not_queue_behind_another_one(database: Database) -> None:
    scope = make_batch(database, jobs=2)

    def look() -> int | None:
        lease = Lease(uuid4(), 1, 60, is_new=True)
        with database.begin() as connection:
            found = claims.claim_unless_locked(connection, scope, lease=lease, limit=1, max_in_flight=10)
        return None if found is None else len(found)

    with database.begin() as connection:
        lock_account(connection, scope.account_pk)
        assert look() is None
    assert [look(), look(), look()] == [1, 1, 0]


def test_the_places_are_counted_over_all_batches_of_the_account(database: Database) -> None:
    first = make_batch(database, jobs=5)
    second = make_batch(database, "other-1", jobs=5)
    make_batch(database, "elsewhere-1", jobs=5, account_pk=account(database, "credits:other"))
    assert len(claim(database, first, limit=3, max_in_flight=4)) == 3
    assert len(claim(database, second, limit=3, max_in_flight=4)) == 1
    assert len(claim(database, Scope(first.account_pk), limit=3, max_in_flight=4)) == 0
    assert len(claim(database, Scope(account(database, "credits:other")), limit=9, max_in_flight=4)) == 4


def test_a_budget_that_just_fits_is_used_up(database: Database) -> None:
    scope = make_batch(database, jobs=3, budget=9)
    assert len(claim(database, scope)) == 3
    with database.begin() as connection:
        assert connection.execute(select(func.count()).select_from(holds)).scalar_one() == 0


def test_a_claim_reserves_and_bundles(database: Database) -> None:
    scope = make_batch(database, jobs=5, bundle=2)
    found = claim(database, scope)
    assert [[job.name for job in submission.jobs] for submission in found] == [
        ["job-0", "job-1"],
        ["job-2", "job-3"],
        ["job-4"],
    ]
    assert len({submission.token for submission in found}) == 1  # one lease a claim
    with database.begin() as connection:
        rows = connection.execute(select(submissions).order_by(submissions.c.reserved)).all()
    assert [row.reserved for row in rows] == [PRICE, PRICE * 2, PRICE * 2]
    assert {row.state for row in rows} == {"intended"}


@pytest.mark.parametrize("code", list(HoldCode))
def test_only_blocking_holds_stop_new_submissions(database: Database, code: HoldCode) -> None:
    scope = make_batch(database)
    with database.begin() as connection:
        put_hold(connection, BATCH, code, "why", "what to do")
    blocks = code in BLOCKING_HOLDS
    assert bool(claim(database, scope)) is not blocks


@pytest.mark.parametrize("state", ["paused", "held"])
def test_a_batch_that_does_not_run_sends_nothing(database: Database, state: str) -> None:
    scope = make_batch(database)
    with database.begin() as connection:
        connection.execute(update(batches).values(state=state))
    assert claim(database, scope) == []


def polls(database: Database, scope: Scope, *, limit: int = 100, owner: int = 1) -> list[free_claims.ClaimedPoll]:
    with database.begin() as connection:
        return free_claims.claim_polls(connection, scope, lease=Lease(uuid4(), owner, 60), limit=limit)


def copies(database: Database, scope: Scope, *, limit: int = 100, owner: int = 1) -> list[free_claims.ClaimedCopy]:
    with database.begin() as connection:
        return free_claims.claim_copies(connection, scope, lease=Lease(uuid4(), owner, 60), limit=limit)


def test_eight_threads_share_polls_and_copies_without_giving_one_twice(database: Database) -> None:
    scope = make_batch(database, jobs=200)
    with database.begin() as connection:
        for _ in range(200):
            made = put_submission(connection, BATCH, scope.account_pk, SubmissionState.ACCEPTED)
        force_jobs(connection, BATCH, [JobState.COPYING] * 200, made)
        connection.execute(update(jobs).values(source_expires_at=text("now() + interval '1 hour'")))
    polled: Counter[object] = Counter()
    copied: Counter[object] = Counter()

    def work(number: int) -> None:
        while found := polls(database, scope, limit=9, owner=number + 1):
            polled.update(one.id for one in found)
        while jobs_found := copies(database, scope, limit=9, owner=number + 1):
            copied.update(one.pk for one in jobs_found)

    all_at_once(work)
    assert (len(polled), set(polled.values())) == (200, {1})
    assert (len(copied), set(copied.values())) == (200, {1})


def test_a_claim_whose_commit_was_not_heard_of_is_repeated_under_its_lease(database: Database) -> None:
    """Else its rows would lie idle until the lease ends: minutes of a poll, hours of a copy."""
    scope = make_batch(database, jobs=3)
    with database.begin() as connection:
        for _ in range(3):
            made = put_submission(connection, BATCH, scope.account_pk, SubmissionState.ACCEPTED)
        force_jobs(connection, BATCH, [JobState.COPYING] * 3, made)
        connection.execute(update(jobs).values(source_expires_at=text("now() + interval '1 hour'")))
    for claim_some in (free_claims.claim_polls, free_claims.claim_copies):
        lease, claimed = Lease(uuid4(), 1, 60), []
        for _ in range(2):
            with database.begin() as connection:
                claimed.append(
                    {(work.token, work.batch_id) for work in claim_some(connection, scope, lease=lease, limit=2)}
                )
        assert claimed[0] == claimed[1] != set()
    assert (len(polls(database, scope)), len(copies(database, scope))) == (1, 1)


def test_copies_come_by_nearest_expiry(database: Database) -> None:
    scope = make_batch(database, jobs=3)
    with database.begin() as connection:
        paid = put_submission(connection, BATCH, scope.account_pk, SubmissionState.RESOLVED)
        force_jobs(connection, BATCH, [JobState.COPYING] * 3, paid)
        for ordinal, hours in enumerate((3, 1, 2)):
            connection.execute(
                update(jobs)
                .where(jobs.c.ordinal == ordinal)
                .values(source_expires_at=text(f"now() + interval '{hours} hours'"))
            )
    assert [work.job for work in copies(database, scope, limit=2)] == ["job-1", "job-2"]
    assert [work.job for work in copies(database, scope)] == ["job-0"]


def test_plans_always_know_the_values(database: Database) -> None:
    """A generic plan, which Postgres may choose for a statement prepared once, could not use a partial index.

    Those of triggers and foreign keys are the same with any values, and need not be made for every row.
    """
    with database.begin() as connection:
        for _ in range(10):
            prepared = connection.execute(text("SELECT count(*) FROM pg_prepared_statements")).scalar_one()
        assert (prepared, connection.execute(text("SHOW plan_cache_mode")).scalar_one()) == (0, "auto")


def test_a_claim_whose_commit_was_not_heard_of_is_taken_up_again(database: Database) -> None:
    """Repeated with its lease it reserves nothing more, as long as nothing of it was sent or put back."""
    scope = make_batch(database, jobs=5, bundle=2)
    lease = Lease(uuid4(), 1, 60)

    def repeat() -> list[ClaimedSubmission]:
        with database.begin() as connection:
            return claims.claim_submissions(connection, scope, lease=lease, limit=3, max_in_flight=64)

    first = repeat()
    before = freeze(database)
    assert repeat() == sorted(first, key=lambda work: work.id)
    assert freeze(database) == before
    assert sum(len(work.jobs) for work in claim(database, scope)) == 2
