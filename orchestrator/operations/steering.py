"""`pause`, `cancel` and `reject`: stop what is not sent yet. They spend nothing and need no credentials."""

from collections.abc import Callable
from typing import Any

from orchestrator.base.settings import Settings
from orchestrator.base.states import BatchState
from orchestrator.operations.database import open_database
from orchestrator.store import batches, gates, reads, settling
from orchestrator.store.database import Connection


def pause(reference: str, settings: Settings) -> dict[str, Any]:
    """Send nothing new of a batch until `resume`, whoever works it just now; returns its document.

    What was paid for is still polled and stored. Pausing twice changes nothing. Raises UsageError for an unknown
    batch, and for one that has ended or was cancelled.
    """
    return _steer(reference, settings, batches.pause_batch)


def cancel(reference: str, settings: Settings) -> dict[str, Any]:
    """Take back all jobs of a batch that were not sent, for good; returns its document.

    What was paid for is still polled and stored by whoever works the batch: it is `running` until that is done, `held`
    while money is in doubt, and then `cancelled`. Cancelling twice changes nothing. Raises UsageError for an unknown
    batch, and for one that has ended otherwise.
    """
    return _steer(reference, settings, batches.cancel_batch)


def reject(reference: str, settings: Settings, *, job: str) -> dict[str, Any]:
    """Skip what waits for the result of a job with a gate, for good; returns the batch's document.

    Raises UsageError for an unknown batch or job, and where there is no result that could be rejected.
    """

    def skip(connection: Connection, batch_id: str) -> BatchState:
        batches.lock_batch(connection, batch_id)
        gates.reject_gate(connection, batch_id, job)
        return settling.settle_batch(connection, batch_id)

    return _steer(reference, settings, skip)


def _steer(reference: str, settings: Settings, verb: Callable[[Connection, str], BatchState]) -> dict[str, Any]:
    with open_database(settings) as database, database.begin() as connection:
        batch_id = batches.find_batch(connection, reference)
        verb(connection, batch_id)
        return reads.batch_document(connection, batch_id)
