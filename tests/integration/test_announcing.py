"""Telling of jobs, with a broker in memory: once, anew for who has just begun to listen, and never in the way."""

import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from celery import Celery
from kombu.messaging import Consumer
from sqlalchemy import update

from orchestrator.base.states import JobState
from orchestrator.store.database import NOW, Database
from orchestrator.store.tables import jobs
from workers import announcing
from workers.announcing import Announcer
from workers.event_stream import tell_end

from .redis_server import free_port
from .store_rows import claim, make_batch

BATCH = "things-20261122-0001"


class Listener:
    """What someone hears who listens to the broker from now on."""

    def __init__(self, app: Celery) -> None:
        self._heard: list[dict[str, Any]] = []
        self._connection = app.connection()
        self._receiver = app.events.Receiver(self._connection, handlers={"*": self._heard.append})
        self._consumer = self._receiver.get_consumers(self._consumer_of, self._connection.default_channel)[0]
        self._consumer.consume()

    def _consumer_of(self, **options: Any) -> Any:
        return Consumer(self._connection.default_channel, **options)

    def heard(self) -> list[tuple[str, str]]:
        """The types of events since the last time, and of which job."""
        return [(event["type"], event["args"].split("'")[1]) for event in self.all_heard() if "args" in event]

    def all_heard(self) -> list[dict[str, Any]]:
        """The events since the last time."""
        with suppress(TimeoutError):
            while True:
                self._connection.drain_events(timeout=0.1)
        heard, self._heard[:] = list(self._heard), []
        return heard

    def close(self) -> None:
        self._connection.release()


@pytest.fixture
def app() -> Iterator[Celery]:
    with Celery("test", broker="memory://", set_as_current=False) as app:
        yield app


@pytest.fixture
def listener(app: Celery) -> Iterator[Listener]:
    listener = Listener(app)
    yield listener
    listener.close()


def test_each_thing_is_told_once_and_everything_anew_to_a_new_listener(
    app: Celery, database: Database, listener: Listener
) -> None:
    announcer = Announcer(app, database)
    announcer()
    assert listener.heard() == []
    scope = make_batch(database, jobs=2)
    announcer()
    assert listener.heard() == [("task-sent", "job-0"), ("task-sent", "job-1")]
    claim(database, scope, limit=1)
    announcer()
    assert listener.heard() == [("task-received", "job-0")]
    announcer()
    assert listener.heard() == []
    announcing._flower_began.set()
    announcer()
    assert listener.heard() == [("task-received", "job-0"), ("task-sent", "job-1")]
    announcer.close()


def test_what_has_ended_is_told_to_a_new_listener(app: Celery, database: Database, listener: Listener) -> None:
    make_batch(database, jobs=1)
    with database.begin() as connection:
        connection.execute(update(jobs).values(state=JobState.CANCELLED, ended_at=NOW))
    announcer = Announcer(app, database)
    announcer()
    announcer()
    assert listener.heard() == [("task-revoked", "job-0")]
    announcer.close()


def test_a_worker_that_has_ended_is_active_no_more(app: Celery, listener: Listener) -> None:
    state = app.events.State()
    last = {"hostname": "w@here", "timestamp": time.time(), "local_received": time.time(), "active": 3}
    state.event(last | {"type": "worker-online"})
    tell_end(app, "w@here")
    for event in listener.all_heard():
        state.event(event)
    assert (state.workers["w@here"].active, state.workers["w@here"].alive) == (0, False)


def test_a_broker_that_is_gone_costs_little(database: Database) -> None:
    make_batch(database, jobs=1)
    with Celery("test", broker=f"redis://127.0.0.1:{free_port()}/0", set_as_current=False) as app:
        announcer = Announcer(app, database)
        began_at = time.monotonic()
        announcer()
        announcer()
        assert time.monotonic() - began_at < 1
        announcer.close()
