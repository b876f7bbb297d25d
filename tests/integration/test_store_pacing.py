"""Windows, rates and pauses, as all workers share them: what is limited waits, and nothing waits behind it."""

import random
import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import func, select, text, update

from orchestrator.base.states import JobState
from orchestrator.store import claims, free_claims, heads, pacing, sending
from orchestrator.store.accounts import Scope
from orchestrator.store.claims import ClaimedSubmission
from orchestrator.store.database import Database
from orchestrator.store.due import next_due
from orchestrator.store.leases import Lease
from orchestrator.store.tables import jobs, paces, submissions

from .store_rows import claim, make_batch, mark_sent, record_accepted, row

BATCH = "things-20261122-0001"
MOST = 64
PAUSE_LEFT = func.extract("epoch", paces.c.paused_until - func.now())


def slow_down(
    database: Database, scope: Scope, model: str, *, retry_after: float | None = None, refused: Any = None
) -> None:
    with database.begin() as connection:
        pacing.slow_down(
            connection,
            scope.account_pk,
            model,
            retry_after_seconds=retry_after,
            max_in_flight=MOST,
            submission_id=refused,
        )


def speed_up(database: Database, scope: Scope, model: str, times: int = 1) -> None:
    for _ in range(times):
        with database.begin() as connection:
            pacing.speed_up(connection, scope.account_pk, model, max_in_flight=MOST)


def change_limits(database: Database, **values: Any) -> None:
    with database.begin() as connection:
        connection.execute(update(paces).values(values))


def end_pauses(database: Database) -> None:
    change_limits(database, paused_until=text("now() - interval '1 millisecond'"))


def pause_left(database: Database, model: str) -> float:
    with database.begin() as connection:
        return float(connection.execute(select(PAUSE_LEFT).where(paces.c.model == model)).scalar_one())


def limit(database: Database, model: str) -> Any:
    return row(database, paces, model=model)


def send(database: Database, work: ClaimedSubmission) -> None:
    with database.begin() as connection:
        assert mark_sent(connection, work.id, work.token)


def accept(database: Database, work: ClaimedSubmission) -> None:
    send(database, work)
    with database.begin() as connection:
        record_accepted(
            connection, work.id, request_id=f"r-{work.id}", provider_status=None, answer={}, poll_in_seconds=0
        )


def names(claimed: list[ClaimedSubmission]) -> list[str]:
    return [job.name for work in claimed for job in work.jobs]


def submit_due(database: Database, scope: Scope, max_in_flight: int = MOST) -> float | None:
    with database.begin() as connection:
        return next_due(connection, scope, max_in_flight=max_in_flight).submit


def test_a_refused_model_pauses_alone_and_the_others_keep_the_order_of_the_manifest(database: Database) -> None:
    scope = make_batch(database, jobs=9, models=("a", "b", "c"))
    slow_down(database, scope, "b", retry_after=30)
    assert submit_due(database, scope) == 0
    assert names(claim(database, scope)) == ["job-0", "job-2", "job-3", "job-5", "job-6", "job-8"]
    due = submit_due(database, scope)
    assert due is not None
    assert 28 < due <= 30, "only what is paused is left"
    assert claim(database, scope) == []
    end_pauses(database)
    assert submit_due(database, scope) == 0
    assert names(claim(database, scope)) == ["job-1", "job-4", "job-7"]


def test_a_second_refused_model_pauses_the_account_with_its_polls(database: Database) -> None:
    scope = make_batch(database, jobs=6, models=("a", "b", "c"))
    accept(database, claim(database, scope, limit=1)[0])
    slow_down(database, scope, "a", retry_after=0.3)
    with database.begin() as connection:
        assert len(free_claims.claim_polls(connection, scope, lease=Lease(uuid4(), 1, 0), limit=9)) == 1
        connection.execute(update(submissions).values(lease_token=None, lease_owner=None, lease_until=None))
    slow_down(database, scope, "b", retry_after=0.4)
    with database.begin() as connection:
        assert free_claims.claim_polls(connection, scope, lease=Lease(uuid4(), 1, 60), limit=9) == []
        due = next_due(connection, scope, max_in_flight=MOST)
    assert due.poll is not None
    assert due.submit is not None
    assert 0.1 < due.poll <= 0.4
    assert 0.1 < due.submit <= 0.4
    assert claim(database, scope) == []
    end_pauses(database)
    change_limits(database, rate=None)
    assert len(claim(database, scope)) == 5


def test_the_pause_is_as_long_as_the_provider_wants_or_grows(database: Database) -> None:
    scope = make_batch(database)
    waits = []
    for _ in range(7):
        slow_down(database, scope, "gen")
        waits.append(round(pause_left(database, "gen")))
        end_pauses(database)
    assert waits == [2, 4, 8, 16, 32, 60, 60]
    slow_down(database, scope, "gen", retry_after=0)
    assert 0.1 < pause_left(database, "gen") <= 0.2, "never a tight loop"
    slow_down(database, scope, "gen", retry_after=100)
    slow_down(database, scope, "gen", retry_after=1)
    slow_down(database, scope, "gen")
    assert pause_left(database, "gen") > 90, "a longer pause is never shortened"
    end_pauses(database)
    speed_up(database, scope, "gen")
    assert limit(database, "gen").throttles == 0


def test_a_burst_counts_once_also_when_its_answers_come_late(database: Database) -> None:
    scope = make_batch(database, jobs=4)
    burst = claim(database, scope)
    for work in burst:
        send(database, work)
    slow_down(database, scope, "gen", retry_after=0, refused=burst[0].id)
    with database.begin() as connection:
        connection.execute(text("SELECT pg_sleep(0.25)"))  # the pause is over, the burst is not
    for work in burst[1:]:
        slow_down(database, scope, "gen", retry_after=0, refused=work.id)
    assert (limit(database, "gen").room, limit(database, "gen").throttles) == (MOST / 2, 1)
    with database.begin() as connection:
        connection.execute(text("SELECT pg_sleep(0.25)"))
        connection.execute(
            update(submissions).where(submissions.c.id == burst[1].id).values(sent_at=text("clock_timestamp()"))
        )
    slow_down(database, scope, "gen", retry_after=0, refused=burst[1].id)
    assert (limit(database, "gen").room, limit(database, "gen").throttles) == (MOST / 4, 2)


def test_a_window_halves_and_never_closes_and_grows_by_one_a_window(database: Database) -> None:
    scope = make_batch(database, jobs=20, models=("a", "b"))
    rooms = []
    for _ in range(8):
        slow_down(database, scope, "a", retry_after=0)
        rooms.append(limit(database, "a").room)
        speed_up(database, scope, "a")
        assert limit(database, "a").room == rooms[-1], "what is accepted in a pause had left before it"
        end_pauses(database)
    assert rooms == [32, 16, 8, 4, 2, 1, 1, 1]
    assert len(claim(database, scope)) == 11, "one job of a, all of b"
    assert submit_due(database, scope) is None, "the window of a is full: one of its jobs has to end first"
    for room in (2, 3, 4):
        speed_up(database, scope, "a", times=room - 1)
        assert room - 0.5 < limit(database, "a").room <= room + 0.01
    assert len(claim(database, scope)) == 2
    change_limits(database, room=MOST - 0.5)
    speed_up(database, scope, "a", times=MOST)
    with database.begin() as connection:
        assert connection.execute(select(paces)).all() == [], "a limit that is outgrown is none"


def test_a_rate_is_half_of_what_was_achieved_and_is_outgrown(database: Database) -> None:
    scope = make_batch(database, jobs=60)
    for work in claim(database, scope, limit=20):
        accept(database, work)
    slow_down(database, scope, "gen", retry_after=0)
    rate = limit(database, "gen").rate
    assert 1 <= rate <= 10, "20 accepted in about a second, or a few on a slow machine"
    end_pauses(database)
    change_limits(database, rate=0.1, tokens=1)
    assert len(claim(database, scope, limit=12)) == 1, "one token"
    wait = submit_due(database, scope)
    assert wait is not None
    assert 5 < wait <= 10
    assert claim(database, scope) == []
    change_limits(database, rate=rate)
    change_limits(database, filled_at=text("now() - interval '1 hour'"))
    assert submit_due(database, scope) == 0
    assert len(claim(database, scope, limit=12)) == int(max(rate, 1)), "an hour's silence is worth a second of POSTs"
    change_limits(database, rate=MOST - 1)
    speed_up(database, scope, "gen")
    with database.begin() as connection:
        assert connection.execute(select(paces.c.rate)).scalar_one_or_none() is None


def test_without_any_success_there_is_no_rate_to_halve(database: Database) -> None:
    scope = make_batch(database)
    slow_down(database, scope, "gen", retry_after=0)
    assert limit(database, "gen").rate is None


def test_jobs_in_doubt_take_up_room_for_a_quarter_of_an_hour(database: Database) -> None:
    scope = make_batch(database, jobs=6)
    lost = claim(database, scope, limit=2, max_in_flight=3)
    for work in lost:
        send(database, work)
        with database.begin() as connection:
            sending.record_unknown(connection, work.id, work.token, {})
    assert len(claim(database, scope, max_in_flight=3)) == 1
    assert submit_due(database, scope, max_in_flight=3) is None
    with database.begin() as connection:
        connection.execute(
            update(submissions)
            .where(submissions.c.id == lost[0].id)
            .values(sent_at=text("now() - interval '15 minutes 1 second'"))
        )
    assert len(claim(database, scope, max_in_flight=3)) == 1
    assert claim(database, scope, max_in_flight=3) == []


def test_a_request_holds_jobs_of_one_model(database: Database) -> None:
    scope = make_batch(database, jobs=6, models=("a", "b"), bundle=2)
    found = claim(database, scope)
    assert [(work.model, names([work])) for work in found] == [
        ("a", ["job-0", "job-2"]),
        ("b", ["job-1", "job-3"]),
        ("a", ["job-4"]),
        ("b", ["job-5"]),
    ]


def test_a_bundle_takes_one_token(database: Database) -> None:
    scope = make_batch(database, jobs=8, bundle=4)
    slow_down(database, scope, "gen", retry_after=0)
    end_pauses(database)
    change_limits(database, rate=0.5, tokens=1)
    assert names(claim(database, scope)) == ["job-0", "job-1", "job-2", "job-3"]
    assert claim(database, scope) == []


def test_a_batch_of_a_paused_model_leaves_its_share_to_others(database: Database) -> None:
    first = make_batch(database, jobs=30, models=("a",))
    make_batch(database, "other-1", jobs=30, models=("b",))
    slow_down(database, first, "a", retry_after=30)
    assert {work.batch_id for work in claim(database, Scope(first.account_pk), limit=20)} == {"other-1"}
    assert len(claim(database, Scope(first.account_pk))) == 10


def all_at_once(work: Callable[[int], None]) -> None:
    """Run `work` in 8 threads that start together."""
    gate = threading.Barrier(8)

    def run(number: int) -> None:
        gate.wait()
        work(number)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(run, range(8)))


def test_eight_threads_never_pass_the_window_of_a_model(database: Database) -> None:
    scope = make_batch(database, jobs=300, models=("a", "b"))
    slow_down(database, scope, "a", retry_after=0)
    end_pauses(database)
    change_limits(database, room=5)
    most: list[int] = []

    def work(number: int) -> None:
        for _ in range(12):
            claimed = claim(database, scope, owner=number + 1, limit=4, max_in_flight=1000)
            with database.begin() as connection:
                of_a = [jobs.c.model == "a", jobs.c.state == JobState.SUBMITTING]
                most.append(connection.execute(select(func.count()).where(*of_a)).scalar_one())
                for one in claimed:
                    sending.take_back(connection, one.id, one.token, reason="")

    all_at_once(work)
    assert 1 < max(most) <= 5


def test_limits_change_under_claims_without_a_deadlock(database: Database) -> None:
    scope = make_batch(database, jobs=300, models=("a", "b", "c"))

    def work(number: int) -> None:
        dice = random.Random(number)
        for _ in range(12):
            for one in claim(database, scope, owner=number + 1, limit=3):
                send(database, one)
                with database.begin() as connection:
                    pacing.speed_up(connection, scope.account_pk, one.model, max_in_flight=MOST)
                    sending.record_unknown(connection, one.id, one.token, {})
                if dice.random() < 0.3:
                    slow_down(database, scope, one.model, retry_after=0, refused=one.id)

    all_at_once(work)


MANY_JOBS = """
INSERT INTO job (batch_id, account_pk, ordinal, name, type, model, item, labels, estimate, state, attempts,
                 copy_failures, due_at)
SELECT batch_id, account_pk, n, 'job-' || n, type, CASE WHEN n <= 20000 THEN 'a' ELSE 'b' END, item, labels, estimate,
       'pending', 0, 0, now()
FROM job, generate_series(1, 20010) AS n
"""


@pytest.mark.parametrize("has_statistics", [True, False])
def test_a_model_that_waits_with_20_000_jobs_costs_the_others_nothing(database: Database, has_statistics: bool) -> None:
    """Also right after they were stored, when Postgres takes the batch for a small one."""
    scope = make_batch(database, jobs=1, models=("a",))
    with database.begin() as connection:
        connection.execute(text("ANALYZE"))
        connection.execute(text(MANY_JOBS))
    if has_statistics:
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE"))
    slow_down(database, scope, "a", retry_after=30)
    due_jobs = {"batch": BATCH, "models": ["b"], "rooms": [MOST], "share": MOST}
    for statement, parameters in ((heads._HEADS, {"batches": [BATCH]}), (claims._DUE_JOBS, due_jobs)):
        with database.begin() as connection:
            heads.queue_heads(connection, [BATCH])
            plan = "\n".join(
                connection.execute(
                    text(f"EXPLAIN (ANALYZE, TIMING OFF) {statement.text}").bindparams(*statement._bindparams.values()),
                    parameters,
                ).scalars()
            )
        assert "Seq Scan on job" not in plan, plan
        assert "ix_job_submit_due" in plan
        assert sum(map(int, re.findall(r"Rows Removed by Filter: (\d+)", plan))) < 5, plan
        assert max(map(int, re.findall(r"actual rows=(\d+)", plan))) <= 64, plan
    assert names(claim(database, scope, limit=20)) == [f"job-{n}" for n in range(20_001, 20_011)]
