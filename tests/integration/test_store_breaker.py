"""The breaker, as all workers share it: when it opens, who probes, and how sending starts again."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import func, select, text, update

from orchestrator.base.states import SubmissionState
from orchestrator.store import breaker, free_claims, pacing, sending
from orchestrator.store.accounts import Scope
from orchestrator.store.claims import ClaimedSubmission
from orchestrator.store.database import Database
from orchestrator.store.due import next_due
from orchestrator.store.leases import Lease
from orchestrator.store.tables import accounts, submissions

from .store_rows import claim, make_batch, mark_sent, record_accepted, row

PROBE_IN = func.extract("epoch", accounts.c.breaker_probe_at - func.now())


@pytest.fixture
def scope(database: Database) -> Scope:
    return make_batch(database, jobs=40)


def send(database: Database, scope: Scope) -> ClaimedSubmission:
    [work] = claim(database, scope, limit=1)
    with database.begin() as connection:
        assert mark_sent(connection, work.id, work.token)
    return work


def accept(database: Database, scope: Scope, work: ClaimedSubmission) -> None:
    with database.begin() as connection:
        record_accepted(
            connection, work.id, request_id=f"r-{work.id}", provider_status=None, answer={}, poll_in_seconds=0
        )
        breaker.note_success(connection, scope.account_pk)
        pacing.speed_up(connection, scope.account_pk, work.model, max_in_flight=8)


def fail(database: Database, scope: Scope, times: int = 1, *, is_lost: bool = False) -> None:
    """Paid POSTs that no byte of left, or whose answers were lost."""
    for _ in range(times):
        work = send(database, scope)
        with database.begin() as connection:
            breaker.note_failure(connection, scope.account_pk, work.id, is_lost=is_lost)
            end = SubmissionState.NOT_SENT
            sending.record_returned(connection, work.id, work.token, end=end, answer={}, retry_in_seconds=0)


def is_open(database: Database, scope: Scope) -> bool:
    with database.begin() as connection:
        return breaker.is_open(connection, scope.account_pk)


def probe_in(database: Database) -> float:
    with database.begin() as connection:
        return float(connection.execute(select(PROBE_IN)).scalar_one())


def pass_time(database: Database, seconds: float) -> None:
    """Put what the breaker knows so far into the past."""
    ago = func.make_interval(0, 0, 0, 0, 0, 0, seconds)
    columns = (accounts.c.breaker_opened_at, accounts.c.breaker_probe_at, accounts.c.breaker_closed_at)
    with database.begin() as connection:
        connection.execute(update(accounts).values({column: column - ago for column in columns}))


def take_probe(database: Database, scope: Scope) -> bool:
    with database.begin() as connection:
        return breaker.take_probe(connection, scope.account_pk)


def close(database: Database, scope: Scope) -> bool:
    with database.begin() as connection:
        return breaker.close(connection, scope.account_pk)


def test_it_opens_after_five_failures_in_a_row_and_then_nothing_is_sent(database: Database, scope: Scope) -> None:
    paid = send(database, scope)
    fail(database, scope, 4)
    accept(database, scope, paid)
    fail(database, scope, 4)
    assert not is_open(database, scope)
    fail(database, scope)
    assert is_open(database, scope)
    assert claim(database, scope) == []
    with database.begin() as connection:
        due = next_due(connection, scope, max_in_flight=64)
        polls = free_claims.claim_polls(connection, scope, lease=Lease(uuid4(), 1, 60), limit=9)
    assert (due.submit, due.poll) == (None, 0)
    assert len(polls) == 1, "polls go on"


def test_a_refusal_for_now_never_opens_it(database: Database, scope: Scope) -> None:
    for _ in range(20):
        with database.begin() as connection:
            pacing.slow_down(connection, scope.account_pk, "gen", retry_after_seconds=0, max_in_flight=64)
    assert row(database, accounts).breaker_failures == 0


def test_polls_that_fail_open_it_before_anything_is_lost(database: Database, scope: Scope) -> None:
    with database.begin() as connection:
        counted = [breaker.note_poll_failure(connection, scope.account_pk) for _ in range(7)]
    assert counted == [1, 2, 3, 4, 5, 0, 0]
    assert is_open(database, scope)


def test_polls_that_work_do_not_hide_paid_requests_that_fail(database: Database, scope: Scope) -> None:
    for _ in range(5):
        with database.begin() as connection:
            breaker.note_poll_success(connection, scope.account_pk)
        fail(database, scope)
    with database.begin() as connection:
        breaker.note_poll_success(connection, scope.account_pk)
    assert is_open(database, scope), "it is too early for a probe"
    pass_time(database, 6)
    with database.begin() as connection:
        breaker.note_poll_success(connection, scope.account_pk)
    assert not is_open(database, scope), "a poll is as good as a probe"


@pytest.mark.parametrize("answered", [breaker.note_success, breaker.close])
def test_an_answer_to_a_paid_request_or_a_probe_closes_it(database: Database, scope: Scope, answered: Any) -> None:
    fail(database, scope, 5)
    with database.begin() as connection:
        answered(connection, scope.account_pk)
    assert not is_open(database, scope)


def test_one_of_many_workers_probes_ever_more_seldom(database: Database, scope: Scope) -> None:
    fail(database, scope, 5)
    assert not take_probe(database, scope)
    intervals = [probe_in(database)]
    gate = threading.Barrier(8)

    def ask(_: int) -> bool:
        gate.wait()
        return take_probe(database, scope)

    for _ in range(6):
        pass_time(database, intervals[-1] + 0.01)
        with ThreadPoolExecutor(8) as threads:
            assert sum(threads.map(ask, range(8))) == 1
        intervals.append(probe_in(database))
    assert intervals == pytest.approx([5, 5, 10, 20, 40, 60, 60], abs=1.5)


def test_after_it_closed_one_paid_request_is_at_risk_then_two_then_four(database: Database, scope: Scope) -> None:
    for _ in range(3):
        accept(database, scope, send(database, scope))
    fail(database, scope, 5)
    assert close(database, scope)
    assert not close(database, scope)
    for expected in (1, 2, 4):
        under_way = claim(database, scope, max_in_flight=20)
        assert len(under_way) == expected, "jobs that are accepted already do not count"
        for work in under_way:
            with database.begin() as connection:
                mark_sent(connection, work.id, work.token)
        accept(database, scope, under_way[0])
        with database.begin() as connection:
            for work in under_way[1:]:
                record_accepted(
                    connection, work.id, request_id=f"r-{work.id}", provider_status=None, answer={}, poll_in_seconds=0
                )
    assert len(claim(database, scope, max_in_flight=20)) == 10, "a window as before"


@pytest.mark.parametrize(
    ("is_lost", "rests"), [(False, (10, 20, 40, 60, 60)), (True, (10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600))]
)
def test_a_failure_right_after_it_closed_opens_it_for_longer(
    database: Database, scope: Scope, is_lost: bool, rests: tuple[int, ...]
) -> None:
    """For much longer where money may have been lost: then only paid requests are not answered."""
    fail(database, scope, 5)
    for expected in rests:
        assert close(database, scope)
        fail(database, scope, is_lost=is_lost)
        assert is_open(database, scope)
        assert probe_in(database) == pytest.approx(expected, abs=1.5)
    close(database, scope)
    accept(database, scope, send(database, scope))
    fail(database, scope)
    assert not is_open(database, scope)


def test_a_failure_of_before_the_outage_was_over_counts_for_nothing(database: Database, scope: Scope) -> None:
    slow = send(database, scope)
    fail(database, scope, 5)
    close(database, scope)
    with database.begin() as connection:
        assert breaker.note_failure(connection, scope.account_pk, slow.id, is_lost=True) == 0
        connection.execute(update(submissions).values(sent_at=text("clock_timestamp()")))
        assert breaker.note_failure(connection, scope.account_pk, slow.id, is_lost=True) == 6
