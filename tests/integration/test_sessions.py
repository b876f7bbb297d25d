"""A pooler that gives out connections by the transaction is refused: session locks mean nothing behind it."""

import pytest
from sqlalchemy import StaticPool, create_engine, text

from orchestrator.base.errors import Unusable
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


def test_a_worker_whose_connection_is_another_session_now_stops(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = WorkerSession(database)
    number = session.ensure()
    assert session.ensure() == number
    monkeypatch.setattr("orchestrator.store.leases.server_of", lambda _: 1)
    with pytest.raises(Unusable, match="behind a pooler"):
        session.ensure()
    session.close()


def test_each_connection_says_who_works_in_utc(database_url: str) -> None:
    database = Database(database_url, actor="O'Neil \\ at 日本\0")
    with database.begin() as connection:
        found = connection.execute(text("SELECT current_setting('orchestrator.actor'), current_setting('timezone')"))
        assert tuple(found.one()) == ("O'Neil \\ at 日本", "UTC")
    database.close()
