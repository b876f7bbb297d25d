"""Following a table that grows: each row once, in the order of the keys, whenever its transaction commits."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Connection, insert, text

from orchestrator.base.states import JobState
from orchestrator.store import polling
from orchestrator.store.database import Database
from orchestrator.store.event_tail import HAPPENINGS, Happening, Tail
from orchestrator.store.frontier import Frontier
from orchestrator.store.polling import ItemOutcome, Source
from orchestrator.store.tables import events

from .store_rows import PRICE, force_jobs, make_batch, put_submission

BATCH = "things-20261122-0001"
SOURCE = Source(0, "original", "image", "https://files.test/0.png", None, None)


def happen(connection: Connection) -> None:
    row = {"at": text("now()"), "batch_id": BATCH, "entity": "batch", "entity_id": BATCH, "to_state": "running"}
    connection.execute(insert(events).values(row))


def read(database: Database, tail: Tail[Happening]) -> list[int]:
    with database.begin() as connection:
        rows = tail.read(connection)
    for row in rows:
        tail.passed(row)
    return [row.pk for row in rows]


def test_what_is_committed_late_is_read_once_and_in_its_place(database: Database) -> None:
    make_batch(database)
    tail = Tail(HAPPENINGS)
    (first,) = read(database, tail)
    with database.engine.connect() as late:
        happen(late)
        with database.begin() as connection:
            happen(connection)
        assert read(database, tail) == [], "one with a lower key may still come"
        late.commit()
        with database.begin() as connection:
            happen(connection)
    assert read(database, tail) == [first + 1, first + 2, first + 3]
    assert read(database, tail) == []


def test_who_began_later_holds_nothing_up(database: Database) -> None:
    make_batch(database)
    tail = Tail(HAPPENINGS)
    (first,) = read(database, tail)
    with database.engine.connect() as writing, database.engine.connect() as later:
        happen(writing)
        assert read(database, tail) == []
        happen(later)
        writing.commit()
        assert read(database, tail) == [first + 1]
        later.rollback()
    assert read(database, tail) == []


def test_what_was_read_and_not_told_is_read_again(database: Database) -> None:
    make_batch(database)
    tail = Tail(HAPPENINGS)
    with database.begin() as connection:
        again = tail.read(connection)
    assert [row.pk for row in again] == read(database, tail) != []


def test_a_transaction_that_hangs_is_given_up_once_and_that_is_told(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    make_batch(database)
    seconds = [0.0]
    of_events = Frontier("event", monotonic=lambda: seconds[0])
    with database.begin() as connection, database.engine.connect() as hanging:
        first = of_events.settled(connection)
        happen(hanging)
        assert of_events.settled(connection) == first
        with database.begin() as other:
            happen(other)
        assert (of_events.settled(connection), caplog.messages) == (first, [])
        seconds[0] += 121
        assert of_events.settled(connection) == first + 2
        assert [message.split(":")[0] for message in caplog.messages] == [
            "a transaction that writes to the table event has not ended for 120 s"
        ]
        with database.begin() as other:
            happen(other)
        assert of_events.settled(connection) == first + 3, "it is waited for no more"


def test_how_late_a_result_was_seen_is_only_told_where_the_provider_said_when_it_expires(database: Database) -> None:
    scope = make_batch(database, jobs=3)
    with database.begin() as connection:
        submission = put_submission(connection, BATCH, scope.account_pk, "accepted")
        force_jobs(connection, BATCH, ["generating"] * 3, submission)
    in_71_hours = datetime.now(UTC) + timedelta(hours=71)
    outcomes = [
        ItemOutcome(0, JobState.COPYING, PRICE, sources=(SOURCE,)),
        ItemOutcome(1, JobState.COPYING, PRICE, sources=(replace(SOURCE, url="", content="A caption"),)),
        ItemOutcome(2, JobState.COPYING, PRICE, sources=(replace(SOURCE, expires_at=in_71_hours),)),
    ]
    with database.begin() as connection:
        polling.record_outcomes(connection, {submission: outcomes})
    with database.begin() as connection:
        seen = [row.since_made_seconds for row in Tail(HAPPENINGS, 0).read(connection) if row.to_state == "copying"]
    lag = seen.pop()
    assert (seen, lag) == ([None, None], pytest.approx(3600, abs=60))
