"""Leases: who lost one changes nothing, the dead are found at once, and what may have been paid is never sent again."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import insert, text, update
from sqlalchemy.exc import DataError

from orchestrator.base.states import JobState, SubmissionState
from orchestrator.store import copying, polling, sending
from orchestrator.store.accounts import Scope
from orchestrator.store.copying import StoredFile
from orchestrator.store.database import Connection, Database, OutOfReach
from orchestrator.store.leases import Rescued, WorkerSession, rescue
from orchestrator.store.polling import ItemOutcome, Source
from orchestrator.store.tables import assets, jobs, submissions

from .store_rows import (
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
ERROR = {"code": "unknown"}
LEASED: dict[str, Any] = {
    "lease_token": UUID(int=7),
    "lease_owner": 1,
    "lease_until": text("now() + interval '1 hour'"),
}
Change = Callable[[Connection, UUID, UUID], bool]


def accepted(connection: Connection, submission_id: UUID, request_id: str = "r-1") -> bool:
    return record_accepted(
        connection, submission_id, request_id=request_id, provider_status="queued", answer={}, poll_in_seconds=1
    )


SUBMISSION_CHANGES: dict[str, tuple[str, Change]] = {
    "mark_sent": ("intended", mark_sent),
    "take_back": ("intended", lambda c, s, t: sending.take_back(c, s, t, reason="why")),
    "unsendable": (
        "intended",
        lambda c, s, t: sending.record_rejected(c, s, t, end=SubmissionState.NOT_SENT, answer={}, error=ERROR),
    ),
    "rejected": (
        "sent",
        lambda c, s, t: sending.record_rejected(c, s, t, end=SubmissionState.REFUSED, answer={}, error=ERROR),
    ),
    "returned": (
        "sent",
        lambda c, s, t: sending.record_returned(
            c, s, t, end=SubmissionState.REFUSED, answer={}, retry_in_seconds=0
        ),
    ),
    "unknown": ("sent", lambda c, s, t: sending.record_unknown(c, s, t, {})),
    "poll": (
        "accepted",
        lambda c, s, t: bool(polling.record_polls(c, [polling.Poll(s, t, "queued", False, 1)])),
    ),
    "poll failure": (
        "accepted",
        lambda c, s, t: polling.record_poll_failure(c, s, t, not_found=True, reason="404", next_poll_seconds=1),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SUBMISSION_CHANGES)
@pytest.mark.parametrize("lost", ["another's token", "taken off", "another state"])
def test_a_worker_that_lost_its_lease_changes_nothing(database: Database, name: str, lost: str) -> None:
    state, change = SUBMISSION_CHANGES[name]
    scope = make_batch(database, jobs=1)
    made = one_submission(database, scope, "resolved" if lost == "another state" else state)
    if lost == "taken off":
        with database.begin() as connection:
            connection.execute(update(submissions).values(lease_token=None, lease_owner=None))
    before = freeze(database)
    with database.begin() as connection:
        assert not change(connection, made, uuid4() if lost == "another's token" else LEASED["lease_token"])
    assert freeze(database) == before


@pytest.mark.parametrize("name", SUBMISSION_CHANGES)
def test_with_its_lease_it_does_so_once(database: Database, name: str) -> None:
    state, change = SUBMISSION_CHANGES[name]
    scope = make_batch(database, jobs=1)
    made = one_submission(database, scope, state)
    with database.begin() as connection:
        assert change(connection, made, LEASED["lease_token"])
    after = freeze(database)
    with database.begin() as connection:
        assert change(connection, made, LEASED["lease_token"]) == (name == "mark_sent")
    assert freeze(database) == after


def one_submission(database: Database, scope: Scope, state: str) -> UUID:
    """A leased submission in `state`, its job where it belongs."""
    job_state = {"accepted": JobState.GENERATING, "unknown": JobState.IN_DOUBT}.get(state, JobState.SUBMITTING)
    with database.begin() as connection:
        made = put_submission(connection, BATCH, scope.account_pk, state, **LEASED)
        force_jobs(connection, BATCH, [job_state], made)
    return made


@pytest.mark.parametrize(
    ("state", "let_in"),
    [
        ("intended", False),
        ("sent", True),
        ("unknown", True),
        ("refused", False),
        ("not_sent", False),
        ("resolved", False),
    ],
)
def test_a_late_acceptance_is_let_in_where_the_answer_is_open(database: Database, state: str, let_in: bool) -> None:
    made = one_submission(database, make_batch(database, jobs=1), state)
    with database.begin() as connection:
        assert accepted(connection, made) is let_in
    if let_in:
        assert row(database, submissions).state == "accepted"
        assert job_states(database, BATCH) == ["generating"]
        with database.begin() as connection:
            assert accepted(connection, made), "repeating it changes nothing"
        assert job_states(database, BATCH) == ["generating"]


def test_a_late_acceptance_after_the_job_was_settled_by_hand_moves_no_job(database: Database) -> None:
    made = one_submission(database, make_batch(database, jobs=1), "unknown")
    with database.begin() as connection:
        connection.execute(update(jobs).values(state="pending", submission_id=None))
        assert accepted(connection, made)
    assert job_states(database, BATCH) == ["pending"]


def test_a_request_id_is_not_taken_twice(database: Database) -> None:
    """Two identical jobs, and a provider that answers both with one request: only one of them is known to be paid."""
    scope = make_batch(database, jobs=1)
    first, second = (one_submission(database, scope, "sent") for _ in range(2))
    with database.begin() as connection:
        assert accepted(connection, first)
        assert not accepted(connection, second)
        assert sending.record_unknown(connection, second, LEASED["lease_token"], {})
    assert row(database, submissions, id=second).state == "unknown"


@pytest.mark.parametrize(("sent", "attempts"), [(True, 0), (False, 0)])
def test_what_the_provider_did_not_start_is_no_attempt(database: Database, sent: bool, attempts: int) -> None:
    scope = make_batch(database, jobs=1)
    [work] = claim(database, scope)
    with database.begin() as connection:
        if sent:
            assert mark_sent(connection, work.id, work.token)
            sending.record_returned(
                connection, work.id, work.token, end=SubmissionState.REFUSED, answer={}, retry_in_seconds=0
            )
        else:
            sending.take_back(connection, work.id, work.token, reason="why")
    found = row(database, jobs)
    assert (found.state, found.attempts, found.submission_id) == ("pending", attempts, None)
    assert len(claim(database, scope)) == 1


@pytest.fixture
def session(database: Database) -> Iterator[WorkerSession]:
    made = WorkerSession(database)
    made.ensure()
    yield made
    made.close()


def rescued(database: Database) -> Rescued:
    with database.begin() as connection:
        return rescue(connection)


@pytest.mark.parametrize(
    ("state", "end", "job_state", "found"),
    [
        ("intended", "not_sent", "pending", Rescued(1, 0, 0)),
        ("sent", "unknown", "in_doubt", Rescued(0, 1, 0, frozenset({BATCH}))),
        ("accepted", "accepted", "generating", Rescued(0, 0, 1)),
    ],
)
@pytest.mark.parametrize("death", ["gone", "expired"])
def test_the_work_of_the_dead(
    database: Database, session: WorkerSession, state: str, end: str, job_state: str, found: Rescued, death: str
) -> None:
    made = one_submission(database, make_batch(database, jobs=1), state)
    with database.begin() as connection:
        owner = session.number if death == "expired" else session.number + 1000
        until = text("now() - interval '1 second'") if death == "expired" else text("now() + interval '1 hour'")
        connection.execute(update(submissions).values(lease_owner=owner, lease_until=until))
    assert rescued(database) == found
    submission = row(database, submissions, id=made)
    assert (submission.state, submission.lease_token, submission.lease_owner) == (end, None, None)
    assert job_states(database, BATCH) == [job_state]
    assert rescued(database) == Rescued(0, 0, 0)


@pytest.mark.parametrize("state", ["intended", "sent", "accepted"])
def test_the_work_of_the_living_is_theirs(database: Database, session: WorkerSession, state: str) -> None:
    one_submission(database, make_batch(database, jobs=1), state)
    with database.begin() as connection:
        connection.execute(update(submissions).values(lease_owner=session.ensure()))
    before = freeze(database)
    assert rescued(database) == Rescued(0, 0, 0)
    assert freeze(database) == before


def test_a_killed_connection_frees_what_it_held_at_once(database: Database, session: WorkerSession) -> None:
    scope = make_batch(database, jobs=2)
    assert len(claim(database, scope, owner=session.number, lease=3600)) == 2
    assert rescued(database).not_sent == 0
    kill_sessions(database)
    assert rescued(database).not_sent == 2
    assert job_states(database, BATCH) == ["pending", "pending"]


def test_a_process_that_outlives_an_outage_keeps_what_it_is_sending(database: Database, session: WorkerSession) -> None:
    scope = make_batch(database, jobs=2)
    first, second = claim(database, scope, owner=session.number, lease=3600)
    with database.begin() as connection:
        assert mark_sent(connection, first.id, first.token)
    before = session.number
    kill_sessions(database)
    assert session.ensure() != before
    assert rescued(database) == Rescued(0, 0, 0)
    assert row(database, submissions, id=first.id).state == "sent"
    with database.begin() as connection:
        assert mark_sent(connection, second.id, second.token)


def kill_sessions(database: Database) -> None:
    """Cut every connection but our own, as a restart of the server does."""
    database.engine.dispose()
    with database.begin() as connection:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )


def test_a_cut_connection_is_out_of_reach_and_a_value_that_cannot_be_sent_is_not(database: Database) -> None:
    def be_cut() -> None:
        with database.begin() as connection:
            connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))

    def send_nul() -> None:
        with database.begin() as connection:
            connection.execute(text("SELECT CAST(:value AS text)"), {"value": "a\0b"})

    with pytest.raises(OutOfReach):
        be_cut()
    with pytest.raises(DataError, match="NUL") as caught:
        send_nul()
    assert not isinstance(caught.value, OutOfReach), "it would be tried again for ever"


FILE = StoredFile("k", "file:///k", "0" * 64, 10, "image/png", 1, 1, None)


def one_copy(database: Database, *, originals: int = 1) -> tuple[int, UUID, list[int]]:
    """A leased job that is being copied: its row, its token, its assets."""
    scope = make_batch(database, jobs=1)
    with database.begin() as connection:
        paid = put_submission(connection, BATCH, scope.account_pk, SubmissionState.RESOLVED)
        force_jobs(connection, BATCH, [JobState.COPYING], paid)
        connection.execute(update(jobs).values(LEASED | {"spent": 3}))
        job_pk = row(database, jobs, batch_id=BATCH).pk
        pks = [
            connection.execute(
                insert(assets)
                .values(job_pk=job_pk, position=n, role="original", kind="image", source_url="https://a/x", tags=[])
                .returning(assets.c.pk)
            ).scalar_one()
            for n in range(originals)
        ]
    return job_pk, UUID(int=7), pks


COPY_CHANGES: dict[str, Callable[[Connection, int, UUID], bool]] = {
    "completed": lambda c, j, t: bool(copying.record_completed(c, {j: t})),
    "failure": lambda c, j, t: copying.record_copy_failure(c, j, t, reason="why", retry_in_seconds=1),
    "lost": lambda c, j, t: copying.record_copy_lost(c, j, t, ERROR),
}


@pytest.mark.parametrize("name", COPY_CHANGES)
def test_a_copy_is_ended_only_by_who_holds_it(database: Database, name: str) -> None:
    job_pk, token, pks = one_copy(database)
    with database.begin() as connection:
        copying.record_stored(connection, {pks[0]: FILE})
    before = freeze(database)
    with database.begin() as connection:
        assert not COPY_CHANGES[name](connection, job_pk, uuid4())
    assert freeze(database) == before
    with database.begin() as connection:
        assert COPY_CHANGES[name](connection, job_pk, token)
    with database.begin() as connection:
        assert not COPY_CHANGES[name](connection, job_pk, token)
    assert job_states(database, BATCH) == [{"completed": "completed", "failure": "copying", "lost": "failed"}[name]]
    assert row(database, jobs).lease_token is None


def test_a_job_is_completed_only_when_all_its_originals_are_stored(database: Database) -> None:
    job_pk, token, pks = one_copy(database, originals=2)
    with database.begin() as connection:
        copying.record_verified(connection, pks[1], "1" * 64)
        copying.record_stored(connection, {pks[0]: FILE})
        assert not copying.record_completed(connection, {job_pk: token})
        copying.record_stored(connection, {pks[1]: FILE})
        assert copying.record_completed(connection, {job_pk: token})


def test_a_stored_file_is_not_changed_any_more(database: Database) -> None:
    _, _, [pk] = one_copy(database)
    with database.begin() as connection:
        copying.record_stored(connection, {pk: FILE})
        copying.record_verified(connection, pk, "f" * 64)
        copying.record_stored(connection, {pk: StoredFile("o", "file:///o", "f" * 64, 1, "image/png", 1, 1, None)})
    assert (row(database, assets).uri, row(database, assets).sha256) == ("file:///k", "0" * 64)


def outcome(position: int, state: JobState, spent: str = "3") -> ItemOutcome:
    if state is JobState.COPYING:
        source = Source(0, "original", "image", "https://a/x", None, None)
        return ItemOutcome(position, state, Decimal(spent), sources=(source,))
    return ItemOutcome(position, state, Decimal(spent), error=ERROR)


def test_a_bundle_ends_item_by_item_and_charges_what_its_items_spent(database: Database) -> None:
    scope = make_batch(database, jobs=3, bundle=3)
    [work] = claim(database, scope)
    with database.begin() as connection:
        mark_sent(connection, work.id, work.token)
        accepted(connection, work.id)
        second = replace(outcome(1, JobState.COPYING, "2.5"), generation_seconds=46.0)
        assert polling.record_outcomes(connection, {work.id: [second]}) == 1
        assert not polling.resolve_finished(connection, {work.id: "processing"})
        assert [position for position, _ in polling.open_items(connection, [work.id])[work.id]] == [0, 2]
    rest = [outcome(0, JobState.FAILED), outcome(1, JobState.FAILED), outcome(2, JobState.REJECTED, "0")]
    rest = [replace(each, generation_seconds=float(each.position)) for each in rest]
    with database.begin() as connection:
        assert polling.record_outcomes(connection, {work.id: rest}) == 2, "what is final stays"
        assert polling.resolve_finished(connection, {work.id: "partial_failure"})
        assert not polling.resolve_finished(connection, {work.id: "partial_failure"})
    found = row(database, submissions)
    assert (found.state, found.charged, found.lease_token) == ("resolved", Decimal("5.5"), None)
    assert found.answer["generation_seconds"] == {"0": 0.0, "1": 46.0, "2": 2.0}
    assert job_states(database, BATCH) == ["failed", "copying", "rejected"]
    with database.begin() as connection:
        assert polling.record_outcomes(connection, {work.id: rest}) == 0
    assert row(database, assets).job_pk


@pytest.mark.parametrize("not_found", [True, False])
def test_an_unbroken_run_of_404_is_timed_by_its_first(database: Database, not_found: bool) -> None:
    made = one_submission(database, make_batch(database, jobs=1), "accepted")

    def fail(*, missing: bool) -> Any:
        with database.begin() as connection:
            connection.execute(update(submissions).values(LEASED))
            polling.record_poll_failure(
                connection, made, LEASED["lease_token"], not_found=missing, reason="x", next_poll_seconds=0
            )
        return row(database, submissions).not_found_since

    first = fail(missing=True)
    assert first is not None
    assert fail(missing=not_found) == (first if not_found else None)
