"""A pooler that gives out connections by the transaction is refused: session locks mean nothing behind it."""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import pytest
from sqlalchemy import StaticPool, create_engine, text

from orchestrator.base.errors import Unusable
from orchestrator.store import sessions
from orchestrator.store.database import Database
from orchestrator.store.leases import WorkerSession
from orchestrator.store.sessions import require_sessions


def test_postgres_itself_is_fine(database: Database) -> None:
    require_sessions(database)


def test_two_connections_that_are_one_session_are_refused(database: Database) -> None:
    database.engine = create_engine(database.url, poolclass=StaticPool)
    with pytest.raises(Unusable, match="behind a pooler") as caught:
        require_sessions(database)
    assert "pool_mode = session" in (caught.value.hint or "")


class Pooler:
    """One that gives out its `size` server connections by the transaction, and nobody else uses."""

    def __init__(self, size: int, *, in_turn: bool) -> None:
        self.idle = deque(range(size))
        self.take = self.idle.popleft if in_turn else self.idle.pop
        self.engine = self

    @contextmanager
    def connect(self) -> Iterator["Pooler"]:
        yield self

    def execution_options(self, **_: str) -> "Pooler":
        return self

    @contextmanager
    def begin(self) -> Iterator[int]:
        held = self.take()
        yield held
        self.idle.append(held)


def server_of(connection: Pooler | int) -> int:
    if isinstance(connection, int):
        return connection
    with connection.begin() as held:
        return held


@pytest.mark.parametrize("in_turn", [False, True])
@pytest.mark.parametrize("size", range(1, 9))
def test_a_quiet_pooler_of_any_size_is_seen(size: int, in_turn: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "server_of", server_of)
    with pytest.raises(Unusable, match="behind a pooler"):
        require_sessions(cast(Database, Pooler(size, in_turn=in_turn)))


def test_a_worker_whose_connection_is_another_session_now_stops(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = WorkerSession(database)
    number = session.ensure()
    assert session.ensure() == number
    monkeypatch.setattr("orchestrator.store.leases.server_of", lambda _: 1)
    monkeypatch.setattr("orchestrator.store.database._IDLE_SECONDS", 0)  # asked now and then
    with pytest.raises(Unusable, match="behind a pooler"):
        session.ensure()
    session.close()


def test_each_connection_says_who_works_in_utc(database_url: str) -> None:
    database = Database(database_url, actor="O'Neil \\ at 日本\0")
    with database.begin() as connection:
        found = connection.execute(text("SELECT current_setting('orchestrator.actor'), current_setting('timezone')"))
        assert tuple(found.one()) == ("O'Neil \\ at 日本", "UTC")
    database.close()
