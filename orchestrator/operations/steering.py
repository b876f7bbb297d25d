"""`pause` and `cancel`: stop what is not sent yet, until `resume` or for good. They need no credentials."""

from collections.abc import Callable
from typing import Any

from orchestrator.base.settings import Settings
from orchestrator.base.states import BatchState
from orchestrator.operations.database import open_database
from orchestrator.store import batches, reads
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


def _steer(reference: str, settings: Settings, verb: Callable[[Connection, str], BatchState]) -> dict[str, Any]:
    with open_database(settings) as database, database.begin() as connection:
        batch_id = batches.find_batch(connection, reference)
        verb(connection, batch_id)
        return reads.batch_document(connection, batch_id)
