"""`status`, `jobs` and `wait`: reading what the store knows."""

import time
from math import inf
from typing import TYPE_CHECKING, Any

from orchestrator.base.settings import Settings
from orchestrator.base.states import BatchState
from orchestrator.operations.database import open_database, patiently
from orchestrator.operations.watching import rest_seconds, watched_document
from orchestrator.operations.why import why_documents
from orchestrator.store import batches, job_reads, reads
from orchestrator.store.leases import count_alive, senders_by_account
from orchestrator.store.standing import read_standing

if TYPE_CHECKING:
    from orchestrator.operations.running import Progress  # at run time it would bring the whole engine

_WAIT_SECONDS = 0.5
#: How many batches are recent.
RECENT = 20


def status(reference: str, settings: Settings) -> dict[str, Any]:
    """One batch's document. Raises UsageError for an unknown one."""
    with open_database(settings) as database, database.begin() as connection:
        return watched_document(connection, batches.find_batch(connection, reference))


def why(reference: str, settings: Settings) -> dict[str, Any]:
    """One batch's document with `why`: of each state that jobs can leave, the oldest one and what it waits for.

    Raises UsageError for an unknown batch.
    """
    with open_database(settings) as database, database.begin() as connection:
        batch_id = batches.find_batch(connection, reference)
        standing = read_standing(connection, batch_id, max_in_flight=settings.max_in_flight)
        return watched_document(connection, batch_id) | {"why": why_documents(standing)}


def recent(settings: Settings) -> list[dict[str, Any]]:
    """The documents of the `RECENT` newest batches, what needs a person first.

    Each with how many `workers` live, and how many `senders` of them have the keys of its account.
    """
    with open_database(settings) as database, database.begin() as connection:
        workers, senders = count_alive(connection), senders_by_account(connection)
        return [
            reads.batch_document(connection, batch_id)
            | {"workers": workers, "senders": senders.get(reads.account_of(connection, batch_id), 0)}
            for batch_id in reads.recent_batches(connection, RECENT)
        ]


def jobs(
    reference: str, settings: Settings, *, state: str | None = None, error: str | None = None
) -> list[dict[str, Any]]:
    """The jobs of a batch, filtered by state and error code. Raises UsageError for an unknown batch."""
    with open_database(settings) as database, database.begin() as connection:
        batch_id = batches.find_batch(connection, reference)
        return job_reads.job_documents(connection, batch_id, state=state, error=error)


def jobs_with_errors(
    reference: str, settings: Settings, *, state: str | None = None, error: str | None = None
) -> list[dict[str, Any]]:
    """The jobs of a batch that have an error, in short: id, state, amounts and error. Raises UsageError as `jobs`."""
    with open_database(settings) as database, database.begin() as connection:
        found = job_reads.jobs_with_errors(connection, batches.find_batch(connection, reference))
    return [job for job in found if state in (None, job["state"]) and error in (None, job["error"]["code"])]


def wait(
    reference: str,
    settings: Settings,
    *,
    timeout_seconds: float | None = None,
    progress: "Progress | None" = None,
) -> dict[str, Any]:
    """The batch's document once it does not run any more, or when the time is over. Works nothing itself.

    With `progress`, for who looks on, a batch that is paused is followed until what was paid for is there, too.
    Outages of the database are waited out as long as there is time, then OutOfReach is raised.
    """
    over_at = time.monotonic() + (inf if timeout_seconds is None else timeout_seconds)
    with open_database(settings) as database:
        with database.begin() as connection:
            batch_id = batches.find_batch(connection, reference)
        read = reads.batch_document if progress is None else watched_document
        while True:
            began = time.monotonic()
            document = patiently(
                database,
                lambda connection: read(connection, batch_id),
                seconds=over_at - time.monotonic(),
            )
            if progress is not None:
                progress(document)
            goes_on = document["state"] == BatchState.RUNNING or (progress is not None and is_coming_to_rest(document))
            if not goes_on or time.monotonic() >= over_at:
                return document
            pause = max(_WAIT_SECONDS, rest_seconds(time.monotonic() - began))
            time.sleep(min(pause, max(over_at - time.monotonic(), 0)))


def is_coming_to_rest(document: dict[str, Any]) -> bool:
    """Whether a batch is paused, and some of its jobs, which were paid for, are still made or fetched."""
    under_way = any(document["jobs"][state] for state in ("submitting", "generating", "copying"))
    return under_way and document["state"] == BatchState.PAUSED
