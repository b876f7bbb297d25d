"""Ways to break the orchestrator on purpose: the harness has to find each of them out."""

from collections.abc import Callable
from typing import Any

from orchestrator.assets.folder import FolderDestination
from orchestrator.base.states import JobState, SubmissionState
from orchestrator.store import leases, sending

Sabotage = Callable[[], None]


def forget_what_was_sent() -> None:
    """`sent` is not committed before the POST but with its answer: killed in between, it was never sent."""
    mark_sent, record_accepted = sending.mark_sent, sending.record_accepted
    unmarked: dict[Any, tuple[Any, ...]] = {}

    def remember(_: Any, submission_id: Any, token: Any, digest: str, *, lease_seconds: float) -> bool:
        unmarked[submission_id] = (token, digest, lease_seconds)
        return True

    def record_late(connection: Any, submission_id: Any, **answer: Any) -> bool:
        token, digest, lease_seconds = unmarked.pop(submission_id)
        mark_sent(connection, submission_id, token, digest, lease_seconds=lease_seconds)
        return record_accepted(connection, submission_id, **answer)

    _replace(sending, "mark_sent", remember)
    _replace(sending, "record_accepted", record_late)


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
