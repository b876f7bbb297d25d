"""Following what happens, as a duty of the leading worker: each event is counted, and told in the log."""

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Generic, TypeVar

from orchestrator.base.clock import rfc3339
from orchestrator.base.logs import LogEvent, as_event
from orchestrator.base.states import BatchState, JobState
from orchestrator.store.database import Database
from orchestrator.store.event_tail import PAGE, Charge, Happening, Source, Tail

log = logging.getLogger("orchestrator.events")
R = TypeVar("R", bound=Happening | Charge)

#: What is read in one turn, so that other duties have theirs; the rest follows a second later.
_PAGES = 5


class Follower(Generic[R]):
    """Passes on each row of one kind, from about where the leader before left off."""

    def __init__(self, database: Database, source: Source[R], consumers: Iterable[Callable[[R], None]]) -> None:
        self._database = database
        self._source = source
        self._consumers = tuple(consumers)
        self._tail = Tail(source)

    def follow(self) -> None:
        """Pass on what came since the last call. Raises OutOfReach."""
        for _ in range(_PAGES):
            with self._database.begin() as connection:
                rows = self._tail.read(connection)
            for row in rows:
                self._tail.passed(row)
                for consume in self._consumers:
                    consume(row)
            if len(rows) < PAGE:
                return

    def retire(self) -> None:
        """Someone else leads: what happens meanwhile is theirs to tell."""
        self._tail = Tail(self._source)


_OF_JOBS: Mapping[str, LogEvent] = {
    JobState.WAITING: LogEvent.JOB_WAITING,
    JobState.PENDING: LogEvent.JOB_PENDING,
    JobState.SUBMITTING: LogEvent.JOB_SUBMITTED,
    JobState.GENERATING: LogEvent.JOB_ACCEPTED,
    JobState.COPYING: LogEvent.JOB_MADE,
    JobState.COMPLETED: LogEvent.JOB_STORED,
    JobState.FAILED: LogEvent.JOB_FAILED,
    JobState.REJECTED: LogEvent.JOB_REJECTED,
    JobState.IN_DOUBT: LogEvent.JOB_IN_DOUBT,
    JobState.CANCELLED: LogEvent.JOB_CANCELLED,
    JobState.SKIPPED: LogEvent.JOB_SKIPPED,
}
_OF_BATCHES: Mapping[str, LogEvent] = {
    BatchState.RUNNING: LogEvent.BATCH_RUNNING,
    BatchState.PAUSED: LogEvent.BATCH_PAUSED,
    BatchState.HELD: LogEvent.BATCH_HELD,
    BatchState.COMPLETED: LogEvent.BATCH_ENDED,
    BatchState.PARTIAL_FAILURE: LogEvent.BATCH_ENDED,
    BatchState.FAILED: LogEvent.BATCH_ENDED,
    BatchState.CANCELLED: LogEvent.BATCH_ENDED,
}
#: What a person may want to look at.
_TROUBLE = (LogEvent.JOB_FAILED, LogEvent.JOB_REJECTED, LogEvent.JOB_IN_DOUBT, LogEvent.BATCH_HELD)


def tell(happening: Happening) -> None:
    """Log a transition of a batch or a job: one line, with their ids."""
    if happening.entity == "job":
        event, job = _OF_JOBS[happening.to_state], happening.entity_id
    elif happening.entity == "batch":
        event, job = _OF_BATCHES[happening.to_state], None
    else:
        return  # a submission: its jobs say the same
    log.log(
        logging.WARNING if event in _TROUBLE else logging.INFO,
        "%s %s is %s",
        happening.entity,
        happening.entity_id,
        happening.to_state,
        extra=as_event(
            event,
            batch=happening.batch_id,
            job=job,
            request_id=happening.request_id if job is not None else None,
            from_state=happening.from_state,
            state=happening.to_state,
            happened_at=rfc3339(happening.at),
            model=happening.model,
            error=happening.error if event in _TROUBLE else None,
        ),
    )
