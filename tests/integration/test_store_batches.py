"""A batch's state follows from its jobs and holds; finding, resuming and describing batches."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
from sqlalchemy import event, select, text, update

from orchestrator.base.errors import UsageError
from orchestrator.base.states import ACTIVE_JOBS, BatchState, HoldCode, JobState, SubmissionState
from orchestrator.store import batches as store
from orchestrator.store import reads, settling
from orchestrator.store.accounts import Scope
from orchestrator.store.database import Connection, Database
from orchestrator.store.holds import put_hold
from orchestrator.store.tables import batches, holds, jobs, submissions

from .store_rows import force_jobs, freeze, job_states, make_batch, put_submission, row

BATCH = "things-20261122-0001"
BUDGET, FUNDS, REFUSING, FAILING, DOUBT = (
    HoldCode.BUDGET_REACHED,
    HoldCode.BALANCE_LOW,
    HoldCode.PROVIDER_REFUSING,
    HoldCode.DESTINATION_FAILING,
    HoldCode.IN_DOUBT,
)
#: Jobs and holds of a running batch, the state it settles to, and the holds that stay.
TABLE: list[tuple[str, tuple[HoldCode, ...], str, tuple[HoldCode, ...]]] = [
    ("pending", (), "running", ()),
    ("pending completed", (), "running", ()),
    ("submitting", (BUDGET,), "running", (BUDGET,)),
    ("pending", (BUDGET,), "held", (BUDGET,)),
    ("pending", (FUNDS,), "held", (FUNDS,)),
    ("pending", (REFUSING,), "held", (REFUSING,)),
    ("pending", (FAILING,), "held", (FAILING,)),
    ("generating", (FUNDS,), "running", (FUNDS,)),
    ("generating", (REFUSING,), "held", (REFUSING,)),
    ("copying", (), "running", ()),
    ("copying", (FAILING,), "held", (FAILING,)),
    ("copying pending", (FAILING,), "held", (FAILING,)),
    ("copying pending", (FAILING, BUDGET), "held", (BUDGET, FAILING)),
    ("copying", (REFUSING,), "running", (REFUSING,)),
    ("in_doubt", (), "held", (DOUBT,)),
    ("in_doubt completed", (), "held", (DOUBT,)),
    ("in_doubt pending", (), "running", (DOUBT,)),
    ("in_doubt pending", (BUDGET,), "held", (BUDGET, DOUBT)),
    ("in_doubt pending", (DOUBT,), "running", (DOUBT,)),
    ("pending completed", (DOUBT,), "running", ()),
    ("completed", (), "completed", ()),
    ("completed skipped", (), "completed", ()),
    ("skipped", (), "completed", ()),
    ("completed", (DOUBT,), "completed", ()),
    ("completed", (REFUSING, FAILING), "completed", ()),
    ("completed failed", (), "partial_failure", ()),
    ("completed rejected", (), "partial_failure", ()),
    ("completed cancelled", (), "partial_failure", ()),
    ("failed", (), "failed", ()),
    ("rejected", (), "failed", ()),
    ("failed rejected skipped", (), "failed", ()),
]


def arrange(database: Database, states: str, codes: tuple[HoldCode, ...] = (), batch_id: str = BATCH) -> Scope:
    words = states.split()
    scope = make_batch(database, batch_id, jobs=len(words))
    with database.begin() as connection:
        paid = put_submission(connection, batch_id, scope.account_pk, SubmissionState.ACCEPTED)
        force_jobs(connection, batch_id, words, paid)
        for code in codes:
            put_hold(connection, batch_id, code, "why", "what to do")
    return scope


def hold_codes(database: Database) -> tuple[str, ...]:
    with database.begin() as connection:
        return tuple(connection.execute(select(holds.c.code).order_by(holds.c.code)).scalars())


@pytest.mark.parametrize(("states", "codes", "target", "left"), TABLE)
def test_what_a_batch_settles_to(
    database: Database, states: str, codes: tuple[HoldCode, ...], target: str, left: tuple[HoldCode, ...]
) -> None:
    scope = arrange(database, states, codes)
    with database.begin() as connection:
        unsettled = settling.unsettled_batches(connection, scope)
        assert settling.settle_batch(connection, BATCH) == target
    found = row(database, batches)
    ended = target not in ("running", "held")
    assert (found.state, found.finished_at is not None) == (target, ended)
    assert found.index_due == (target != "running")
    assert hold_codes(database) == tuple(sorted(left))
    out_of_line = target != "running" or (DOUBT in codes) != (DOUBT in left)
    assert bool(unsettled) == out_of_line, "the settle step would have found it"
    before = freeze(database)
    with database.begin() as connection:
        assert settling.settle_batch(connection, BATCH) == target
        assert settling.unsettled_batches(connection, scope) == []
        assert settling.any_at_work(connection, scope) == (target == "running")
    assert freeze(database) == before


@pytest.mark.parametrize(("states", "codes", "target", "left"), TABLE)
@pytest.mark.parametrize("state", ["held", "paused"])
def test_a_stopped_batch_is_found_when_it_moves_or_is_over(
    database: Database, states: str, codes: tuple[HoldCode, ...], target: str, left: tuple[HoldCode, ...], state: str
) -> None:
    """Also a batch that was finished by others while it was held: nothing stays held with nothing left to do."""
    scope = arrange(database, states, codes)
    with database.begin() as connection:
        connection.execute(update(batches).values(state=state))
    with database.begin() as connection:
        for batch_id in settling.unsettled_batches(connection, scope):
            settling.settle_batch(connection, batch_id)
    is_paused = state == "paused" and not set(ACTIVE_JOBS).isdisjoint(states.split())
    assert row(database, batches).state == (state if is_paused else target)


def test_a_doubt_that_is_over_keeps_nothing_back_for_long(database: Database) -> None:
    """Also where whoever settled it died before it could bring the batch into line."""
    scope = arrange(database, "pending completed")
    with database.begin() as connection:
        connection.execute(update(batches).values(state="held"))
        put_hold(connection, BATCH, DOUBT, "too much of it", "what to do", blocking=True)
    with database.begin() as connection:
        for batch_id in settling.unsettled_batches(connection, scope):
            settling.settle_batch(connection, batch_id)
    assert (row(database, batches).state, hold_codes(database)) == ("running", ())


@pytest.mark.parametrize("state", ["completed", "failed", "partial_failure", "cancelled"])
def test_an_ended_batch_stays_ended(database: Database, state: str) -> None:
    scope = arrange(database, "completed failed")
    with database.begin() as connection:
        connection.execute(update(batches).values(state=state, finished_at=text("now()")))
        assert settling.settle_batch(connection, BATCH) == state
        assert settling.unsettled_batches(connection, scope) == []
        assert store.resume_batch(connection, BATCH) == state


def test_resuming_lifts_what_can_be_tried_again_and_makes_it_due(database: Database) -> None:
    arrange(database, "pending copying in_doubt", (BUDGET, FUNDS, REFUSING, FAILING))
    with database.begin() as connection:
        connection.execute(update(jobs).values(due_at=text("now() + interval '1 hour'")))
        assert settling.settle_batch(connection, BATCH) is BatchState.HELD
    with database.begin() as connection:
        assert store.resume_batch(connection, BATCH) is BatchState.RUNNING
        late = connection.execute(select(jobs.c.name).where(jobs.c.due_at > text("orchestrator_now()"))).scalars().all()
    assert hold_codes(database) == (DOUBT,)
    assert late == ["job-2"]


def test_resuming_asks_at_once_for_what_polls_were_refused(database: Database) -> None:
    """Whoever has mended the key does not wait for the polls that failed with the old one."""
    scope = arrange(database, "generating", (REFUSING,))
    with database.begin() as connection:
        connection.execute(update(submissions).values(due_at=text("now() + interval '1 hour'"), poll_failures=5))
        put_submission(
            connection, BATCH, scope.account_pk, SubmissionState.ACCEPTED, due_at=text("now() + interval '1 hour'")
        )
    with database.begin() as connection:
        assert store.resume_batch(connection, BATCH) is BatchState.RUNNING
        due = select(submissions.c.poll_failures).where(submissions.c.due_at <= text("orchestrator_now()"))
        assert connection.execute(due).scalars().all() == [5]


def test_a_finished_job_is_tried_once_although_the_destination_fails(database: Database) -> None:
    """Its files are then safe in the spool, whenever their sources expire."""
    arrange(database, "copying", (FAILING,))
    with database.begin() as connection:
        connection.execute(update(jobs).values(copy_failures=0))
        assert settling.settle_batch(connection, BATCH) is BatchState.RUNNING
        connection.execute(update(jobs).values(copy_failures=1))
        assert settling.settle_batch(connection, BATCH) is BatchState.HELD


@pytest.mark.parametrize(
    ("states", "expected"), [("in_doubt", "held"), ("pending", "running"), ("completed", "completed")]
)
def test_resuming_a_paused_batch(database: Database, states: str, expected: str) -> None:
    arrange(database, states)
    with database.begin() as connection:
        connection.execute(update(batches).values(state="paused"))
        assert store.resume_batch(connection, BATCH) == expected


def find(database: Database, reference: str) -> str:
    with database.begin() as connection:
        return store.find_batch(connection, reference)


def make_dated(database: Database, batch_id: str, name: str, day: int) -> None:
    make_batch(database, batch_id, name=name)
    with database.begin() as connection:
        made = text(f"'2026-01-{day:02}'::timestamptz")
        connection.execute(update(batches).where(batches.c.id == batch_id).values(created_at=made))


def test_finding_a_batch(database: Database) -> None:
    make_dated(database, "mugs-20260101-aaaa", "mugs", 1)
    make_dated(database, "mugs-20260103-bbbb", "mugs", 3)
    make_dated(database, "mugs-20260102-cccc", "mugs", 2)
    make_dated(database, "mugs", "vases", 4)
    make_dated(database, "100%_-20260105-dddd", "odd", 5)
    assert find(database, "mugs-20260101-aaaa") == "mugs-20260101-aaaa"
    assert find(database, "mugs") == "mugs", "an id comes before a name"
    assert find(database, "vases") == "mugs"
    assert find(database, "odd") == "100%_-20260105-dddd"
    assert find(database, "latest") == "100%_-20260105-dddd"
    assert find(database, "mugs-20260102") == "mugs-20260102-cccc"
    assert find(database, "100%_") == "100%_-20260105-dddd"


@pytest.mark.parametrize("reference", ["mugs-2026010", "nothing", "", "%", "m_gs", "MUGS", "mugs-20260101-aaaa2"])
def test_what_names_no_batch_or_several(database: Database, reference: str) -> None:
    make_dated(database, "mugs-20260101-aaaa", "first", 1)
    make_dated(database, "mugs-20260103-bbbb", "second", 3)
    with pytest.raises(UsageError) as caught:
        find(database, reference)
    assert caught.value.exit_code == 2


def test_the_latest_of_a_collection_is_the_newest(database: Database) -> None:
    for day in (2, 3, 1):
        make_dated(database, f"mugs-{day}", "mugs", day)
    assert find(database, "mugs") == "mugs-3"


def test_a_second_run_is_seen_while_the_first_can_move(database: Database) -> None:
    scope = arrange(database, "completed")

    def open_batch() -> str | None:
        with database.begin() as connection:
            return store.open_batch_of(connection, "things", scope.account_pk)

    assert open_batch() == BATCH
    with database.begin() as connection:
        assert store.open_batch_of(connection, "things", scope.account_pk + 1) is None
        assert store.open_batch_of(connection, "other", scope.account_pk) is None
        settling.settle_batch(connection, BATCH)
    assert open_batch() is None


def test_a_batchs_document_adds_up(database: Database) -> None:
    arrange(
        database, "waiting pending submitting generating copying completed failed rejected in_doubt cancelled skipped"
    )
    with database.begin() as connection:
        connection.execute(update(jobs).where(jobs.c.state.in_(["copying", "completed", "failed"])).values(spent=2))
        document = reads.batch_document(connection, BATCH)
    assert document["jobs"] == {"total": 11} | {state.value: 1 for state in JobState}
    assert document["credits"] == {
        "estimated": "33", "reserved": "6", "spent": "6", "in_doubt": "3", "lost": "0", "budget": None,
    }  # fmt: skip
    assert document["usd"] == {"estimated": "0.1716", "spent": "0.0312"}


def test_those_that_need_a_person_come_first(database: Database) -> None:
    for day, state in enumerate(["completed", "running", "held", "running"], 1):
        make_dated(database, f"b-{day}", f"b{day}", day)
        finished: Any = text("now()") if state == "completed" else None
        with database.begin() as connection:
            connection.execute(
                update(batches).where(batches.c.id == f"b-{day}").values(state=state, finished_at=finished)
            )
    with database.begin() as connection:
        assert reads.recent_batches(connection) == ["b-3", "b-4", "b-2", "b-1"]
        assert reads.open_batches(connection) == ["b-2", "b-3", "b-4"]


def test_a_job_that_ends_while_its_batch_is_settled_does_not_hold_it(database: Database) -> None:
    """Whichever statement of the settling it comes before."""
    statements = count_statements(database)
    assert statements > 4
    for number in range(statements):
        batch_id = f"things-20261122-{number:04}"
        arrange(database, "generating", batch_id=batch_id)
        with database.begin() as connection, interrupted(connection, number, partial(end_job, database, batch_id)):
            assert settling.settle_batch(connection, batch_id) in ("running", "failed")
        assert job_states(database, batch_id) == ["failed"]


def count_statements(database: Database) -> int:
    arrange(database, "generating", batch_id="counted-20261122-0001")
    seen: list[int] = []
    with database.begin() as connection, interrupted(connection, 0, lambda: None, seen):
        settling.settle_batch(connection, "counted-20261122-0001")
    return len(seen)


@contextmanager
def interrupted(
    connection: Connection, number: int, what: Callable[[], None], seen: list[int] | None = None
) -> Iterator[None]:
    """`what` happens right before the so-manieth (from 0) statement of the connection."""
    count = [] if seen is None else seen

    def before(*_: Any) -> None:
        count.append(len(count))
        if len(count) == number + 1:
            what()

    event.listen(connection, "before_cursor_execute", before)
    yield
    event.remove(connection, "before_cursor_execute", before)


def end_job(database: Database, batch_id: str) -> None:
    with database.begin() as connection:
        connection.execute(
            update(jobs)
            .where(jobs.c.batch_id == batch_id)
            .values(state="failed", error={"code": "provider-failed"}, ended_at=text("now()"))
        )
