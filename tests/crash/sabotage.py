"""Ways to break the orchestrator on purpose: the harness has to find each of them out."""

from typing import Any

from orchestrator.assets.folder import FolderDestination
from orchestrator.base.states import JobState, SubmissionState
from orchestrator.engine import submit
from orchestrator.engine.runtime import Engine
from orchestrator.store import leases


def forget_what_was_sent() -> None:
    """`sent` is neither committed nor written to a receipt before the POST leaves."""
    mark_sent = submit._mark_sent

    def mark_and_roll_back(connection: Any, *arguments: Any) -> Any:
        order = mark_sent(connection, *arguments)
        connection.rollback()
        return order

    async def keep_nothing(*_: Any) -> bool:
        return True

    _replace(submit, "_mark_sent", mark_and_roll_back)
    _replace(Engine, "keep_receipts", keep_nothing)


def send_again() -> None:
    """What a dead worker had sent goes back to pending, as if a lost answer were no answer."""
    end_dead = leases._end_dead

    def end_as_not_sent(connection: Any, state: SubmissionState, *_: Any) -> Any:
        return end_dead(connection, state, SubmissionState.NOT_SENT, JobState.PENDING)

    _replace(leases, "_end_dead", end_as_not_sent)


def store_nothing() -> None:
    """A destination that says "stored" and forgets; input media are kept."""
    put = FolderDestination.put

    def put_or_forget(self: FolderDestination, key: str, *arguments: Any, **named: Any) -> str:
        return self.uri(key) if key.startswith("things/") else put(self, key, *arguments, **named)

    _replace(FolderDestination, "put", put_or_forget)


def _replace(owner: Any, name: str, function: Any) -> None:
    assert hasattr(owner, name)
    setattr(owner, name, function)
