"""What Flower is told of jobs: the leading worker reads what happened to them and sends it as Celery's events.

The display may be late, but not wrong: whatever happened, what is told is the job as it is now. Nothing waits for it:
without a broker nothing is told, and all that is open and recent is told anew when it is back, or when a Flower has
just begun, which knows nothing of what was before.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from celery.worker.control import control_command
from celery.worker.control import heartbeat as heartbeat_of_celery

from orchestrator.store import job_events
from orchestrator.store.database import Connection, Database
from orchestrator.store.event_tail import HAPPENINGS, Happening, Tail, newest_happening
from orchestrator.store.job_events import ShownJob
from workers.event_stream import Event, EventStream
from workers.job_events import hostname, story, task_id

#: From so far back what ended is told to a Flower that has just begun; at most so many open jobs are.
_RECENT_EVENTS = 20_000
_OPEN_JOBS = 5_000
#: At most so many jobs of a new batch are shown before they are sent.
_UNSENT_JOBS = 1_000
#: So many attempts are remembered, in order to tell only what is new of each.
_REMEMBERED = 50_000
#: A broker that is gone holds up the leader, which has other duties, no more often than this.
_PAUSE_SECONDS = 15.0

_flower_began = threading.Event()


@control_command(name="heartbeat")  # type: ignore[untyped-decorator]  # Celery has no types
def heartbeat(state: Any) -> None:
    """Celery's own command; whoever has just begun to receive events, as Flower does, sends it to all workers."""
    heartbeat_of_celery(state)
    _flower_began.set()


class Announcer:
    """A duty of the leading worker. Reads the store; writes nothing but events, for whoever listens to the broker."""

    def __init__(self, app: Any, database: Database) -> None:
        self._stream = EventStream(app)
        self._database = database
        self._not_before = 0.0
        self._forget()

    def __call__(self) -> None:
        """Tell what has happened since the last time. Raises OutOfReach (of the database only)."""
        if time.monotonic() < self._not_before:
            return
        if _flower_began.is_set():
            _flower_began.clear()
            self._forget()
        for host, news in self._read_news().items():
            if not self._stream.send(host, news, is_worker=False):
                self._not_before = time.monotonic() + _PAUSE_SECONDS
                self._forget()
                return

    def close(self) -> None:
        """Let go of the broker; what is told later begins anew."""
        self._stream.close()
        self._forget()

    def _forget(self) -> None:
        self._tail: Tail[Happening] | None = None
        self._told: dict[str, tuple[str, ...]] = {}

    def _read_news(self) -> dict[str, list[Event]]:
        """What is to be told, by whom it is told of."""
        news: dict[str, list[Event]] = defaultdict(list)
        for job, came_from in self._read():
            news[hostname(job)] += self._news(job, came_from)
        return {host: events for host, events in news.items() if events}

    def _read(self) -> list[tuple[ShownJob, str | None]]:
        """The jobs that something has happened to, each with the state it was in before, where that is known."""
        with self._database.begin() as connection:
            if self._tail is None:
                self._tail = Tail(HAPPENINGS, max(newest_happening(connection) - _RECENT_EVENTS, 0))
                return [(job, None) for job in job_events.open_jobs(connection, limit=_OPEN_JOBS)]
            happened = self._tail.read(connection)
            jobs = _jobs_of(connection, happened)
        if happened:
            self._tail.passed(happened[-1])
        return jobs

    def _news(self, job: ShownJob, came_from: str | None) -> list[Event]:
        """What was not told yet of its attempt."""
        uuid = task_id(job, came_from)
        told = self._told.pop(uuid, ())
        events = story(job, came_from)
        self._told[uuid] = tuple(event.type for event in events)
        while len(self._told) > _REMEMBERED:
            del self._told[next(iter(self._told))]
        return [
            (event.type, {"uuid": uuid} | event.fields | ({"timestamp": event.at.timestamp()} if event.at else {}))
            for event in events
            if event.type not in told
        ]


def _jobs_of(connection: Connection, happened: Sequence[Happening]) -> list[tuple[ShownJob, str | None]]:
    """The jobs of these events as they are now, and where they came from; those of a new batch in its place."""
    came_from = {(event.batch_id, event.entity_id): event.from_state for event in happened if event.entity == "job"}
    new_batches = [event.batch_id for event in happened if event.entity == "batch" and event.from_state is None]
    jobs: list[ShownJob] = []
    for batch_id in new_batches:
        jobs += job_events.unsent_jobs(connection, batch_id, limit=_UNSENT_JOBS)
    jobs += job_events.named_jobs(connection, list(came_from))
    return [(job, came_from.get((job.batch_id, job.name))) for job in jobs]
