"""One worker leads; when its session ends, whatever the reason, the next one does within seconds."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest
from sqlalchemy import text

from orchestrator.operations import leading
from orchestrator.operations.leading import Leader
from orchestrator.store.database import Database, OutOfReach
from orchestrator.store.leading import leadership


@pytest.fixture(autouse=True)
def short_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leading, "_ROUND_SECONDS", 0.05)


class Candidate:
    """A leader that counts its rounds, with a database of its own."""

    def __init__(self, url: str, name: str) -> None:
        self.rounds = 0
        self.retirements = 0
        self.database = Database(url, actor=name)
        self.leader = Leader(self.database, [self._fail, self._count], retired=[self._retire])

    def _fail(self) -> None:
        raise ValueError("a duty that fails keeps no other one from being done")

    def _count(self) -> None:
        self.rounds += 1

    def _retire(self) -> None:
        self.retirements += 1


@contextmanager
def candidate(url: str, name: str) -> Iterator[Candidate]:
    made = Candidate(url, name)
    made.leader.start()
    try:
        yield made
    finally:
        made.leader.stop()
        made.leader.join()
        made.database.close()


def wait_for(reached: Callable[[], bool]) -> None:
    until = time.monotonic() + 10
    while not reached():
        assert time.monotonic() < until, "it did not come to that"
        time.sleep(0.02)


def end_session_of_leader(database: Database) -> None:
    with database.begin() as connection:
        pids = connection.execute(
            text("SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND classid = 7215004 AND granted")
        ).scalars()
        assert [connection.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid}) for pid in pids.all()]


def test_one_leads_and_the_other_takes_over(database: Database, database_url: str) -> None:
    with ExitStack() as both:
        first = both.enter_context(candidate(database_url, "first"))
        wait_for(lambda: first.rounds > 1)
        second = both.enter_context(candidate(database_url, "second"))
        rounds = first.rounds
        wait_for(lambda: first.rounds > rounds + 3)
        assert second.rounds == 0
        first.leader.stop()
        wait_for(lambda: second.rounds > 1)
        assert first.retirements == 1
        rounds = first.rounds
        end_session_of_leader(database)
        wait_for(lambda: second.retirements == 1)
        seen = second.rounds
        wait_for(lambda: second.rounds > seen)
        assert first.rounds == rounds
    assert "leader" not in {thread.name for thread in threading.enumerate()}


def test_whoever_finds_itself_on_another_session_leads_no_more(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    servers = iter([1, 1, 2])
    monkeypatch.setattr("orchestrator.store.leading.server_of", lambda _: next(servers))
    with leadership(database) as confirm:
        assert confirm is not None
        confirm()
        with pytest.raises(OutOfReach, match="another one's"):
            confirm()
