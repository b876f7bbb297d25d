"""A database that fails in the ways that only a real one can: full, read-only, in deadlock, cut off during COMMIT."""

import itertools
import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from psycopg import Connection
from sqlalchemy import make_url, text

from orchestrator.sandbox import Sandbox
from orchestrator.store.database import Database, OutOfReach

from .engine_site import Site, make_site

JOBS = 4


@pytest.fixture(autouse=True)
def tried_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """After an outage the database is asked again in a tenth of the time."""
    monkeypatch.setattr("orchestrator.engine.runtime._OUTAGE_PAUSE_SECONDS", 0.05)


@pytest.fixture
def site(tmp_path: Path, database: Database, database_url: str) -> Iterator[Site]:
    with Sandbox(tmp_path / "sandbox", time_scale=0.02) as sandbox:
        yield make_site(tmp_path, sandbox, database, database_url)


#: Fails the first changes of a table with an error that the server itself may give; a sequence counts them, because
#: it alone is not rolled back with them.
_FAILING = """
CREATE SEQUENCE strikes;
CREATE FUNCTION strike() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF nextval('strikes') <= 3 THEN RAISE EXCEPTION 'simulated' USING ERRCODE = '{sqlstate}'; END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER strike AFTER INSERT OR UPDATE ON {table}
    DEFERRABLE INITIALLY {when} FOR EACH ROW EXECUTE FUNCTION strike();
"""


@pytest.mark.parametrize(
    ("sqlstate", "table", "when"),
    [
        pytest.param("53100", "ledger", "IMMEDIATE", id="disk full"),
        pytest.param("53100", "submission", "DEFERRED", id="disk full at COMMIT"),
        pytest.param("40001", "job", "DEFERRED", id="serialization failure at COMMIT"),
        pytest.param("40P01", "submission", "IMMEDIATE", id="deadlock"),
        pytest.param("25006", "job", "IMMEDIATE", id="read-only after a failover"),
    ],
)
async def test_what_the_server_refuses_for_now_is_done_later(site: Site, sqlstate: str, table: str, when: str) -> None:
    scope = site.make_batch(JOBS)
    with site.database.begin() as connection:
        connection.execute(text(_FAILING.format(sqlstate=sqlstate, table=table, when=when)))
    document = await site.run(scope)
    assert (document["state"], document["holds"]) == ("completed", [])
    assert site.asked("stats")["posts"] == JOBS
    site.audit()


class Cutter:
    """A relay in front of Postgres. Of every few COMMITs one happens and its connection breaks, so often in all."""

    def __init__(self, server: str, folder: Path, *, every: int, times: int) -> None:
        self._server = server
        self._numbers = itertools.count(1)
        self._every = every
        self.left = times
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / ".s.PGSQL.5432"))
        self._listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._server)
                for relay in (self._up, self._down):
                    threading.Thread(target=relay, args=(client, server), daemon=True).start()

    def _up(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError), server, client:
            while data := client.recv(1 << 16):
                if self.left > 0 and b"COMMIT\0" in data and next(self._numbers) % self._every == 0:
                    client.shutdown(socket.SHUT_RDWR)
                    self.left -= 1
                server.sendall(data)
            server.shutdown(socket.SHUT_WR)
            while server.recv(1 << 16):  # until Postgres has done what it was told, and closes
                continue

    def _down(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := server.recv(1 << 16):
                client.sendall(data)


async def test_a_commit_whose_answer_never_comes_is_read_again(site: Site, database_url: str, short_tmp: Path) -> None:
    """Every third COMMIT of a run happens, and its connection breaks before the server can say so."""
    scope = site.make_batch(JOBS)
    url = make_url(database_url)
    with closing(Cutter(f"{url.query['host']}/.s.PGSQL.5432", short_tmp, every=3, times=12)) as cutter:
        through = Database(
            url.update_query_dict({"host": str(short_tmp)}).render_as_string(hide_password=False), actor="tests"
        )
        with closing(through):
            document = await replace(site, database=through).run(scope, seconds=45)
    assert cutter.left == 0
    assert (document["state"], document["holds"]) == ("completed", [])
    assert site.asked("stats")["posts"] == JOBS
    site.audit()


def test_a_transaction_that_sat_idle_for_too_long_is_an_outage(database: Database) -> None:
    def sit_idle() -> None:
        with database.begin() as connection:
            connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 20"))  # milliseconds
            time.sleep(0.2)
            connection.execute(text("SELECT 1"))

    with pytest.raises(OutOfReach):
        sit_idle()
    database.check()


def test_no_connection_left_is_an_outage(database_url: str) -> None:
    with closing(Database(database_url, actor="tests")) as database:
        database.engine.pool._timeout = 0.05  # type: ignore[attr-defined]  # 30 s otherwise
        others = [database.engine.connect() for _ in range(20)]
        with pytest.raises(OutOfReach), database.begin():
            pass
        for other in others:
            other.close()
        with database.begin() as connection:
            assert connection.execute(text("SELECT 1")).scalar_one() == 1


def test_a_second_ctrl_c_while_connections_are_closed_is_no_traceback(
    database_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    database = Database(database_url, actor="test")
    database.check()

    def interrupted(connection: Connection[Any]) -> None:
        connection.pgconn.finish()
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Connection, "close", interrupted)
        with pytest.raises(KeyboardInterrupt):
            database.close()
    assert caplog.text == ""
    logging.getLogger("sqlalchemy.pool.impl.QueuePool").exception("of someone else's")
    database.engine.pool.logger.error("a connection was never given back")
    assert [record.message for record in caplog.records] == ["of someone else's", "a connection was never given back"]


def test_what_was_waited_for_is_seen_whatever_is_usual_on_the_server(database_url: str) -> None:
    usual = f"{database_url}{'&' if '?' in database_url else '?'}options=-cdefault_transaction_isolation%3Dserializable"
    with closing(Database(usual, actor="test")) as database, database.begin() as connection:
        settings = [
            connection.execute(text(f"SHOW {name}")).scalar_one()
            for name in ("default_transaction_isolation", "transaction_isolation")
        ]
    assert settings == ["serializable", "read committed"]
