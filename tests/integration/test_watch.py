"""The watching thread of a worker: whatever goes wrong in one look, there is a next one."""

import threading

import pytest

from orchestrator.store.database import Database, OutOfReach
from workers import watch
from workers.watch import Watcher

from .store_rows import make_batch


@pytest.mark.parametrize("trouble", [RuntimeError("nobody foresaw it"), OutOfReach("gone"), OSError(24, "no files")])
def test_a_look_that_fails_is_not_the_last_one(
    database: Database, monkeypatch: pytest.MonkeyPatch, trouble: Exception
) -> None:
    monkeypatch.setattr(watch, "_FAULT_SECONDS", 0.05)
    monkeypatch.setattr(watch, "_LOOK_SECONDS", 0.05)
    stopped = threading.Event()
    troubles = [trouble]

    def send(kind: str) -> None:
        if troubles:
            raise troubles.pop()
        stopped.set()

    watcher = Watcher(database, [make_batch(database)], max_in_flight=64, kinds=frozenset(["submit"]), send=send)
    thread = threading.Thread(target=watcher.run, args=[stopped], daemon=True)
    thread.start()
    thread.join(timeout=10)
    assert stopped.is_set()
