"""The database of the simulation: a real Postgres whose clock is ours, and whose every statement is watched."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import psycopg
from sqlalchemy import Connection, create_engine, event, text
from sqlalchemy.exc import OperationalError

from orchestrator.store.database import Database

#: Who connects: workers by their number, and the person at the command line.
WORKERS = ("worker-0", "worker-1")
PERSON = "person"

#: A test database's own clock: each transaction says what time it is.
_CLOCK = """
CREATE OR REPLACE FUNCTION orchestrator_now() RETURNS timestamptz LANGUAGE sql STABLE AS
$$ SELECT current_setting('orchestrator.now')::timestamptz $$
"""
_QUIET = """
DO $$ DECLARE t text; BEGIN
    FOR t IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' LOOP
        EXECUTE format('ALTER TABLE %I SET (autovacuum_enabled = false)', t);
    END LOOP;
    EXECUTE format('ALTER DATABASE %I SET synchronous_commit = off', current_database());
END $$
"""
_TABLES = (
    "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename NOT IN ('transition', 'alembic_version')"
)
_LOCK = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = 7215002 AND objid = :number"


class Watcher(Protocol):
    """The simulation that is under way."""

    def now_in_sql(self) -> str: ...

    def before_transaction(self) -> None: ...

    def note_statement(self, actor: str, statement: str, parameters: object) -> None: ...

    def note_change(self) -> None: ...


def lost_connection() -> OperationalError:
    """What the database layer sees when the server or the connection is gone."""
    return OperationalError("", {}, psycopg.OperationalError("simulated outage"), connection_invalidated=True)


class Stage:
    """A migrated database, made ready for one simulation after the other."""

    def __init__(self, url: str) -> None:
        self.watcher: Watcher | None = None
        self._engine = create_engine(url, isolation_level="AUTOCOMMIT")
        self.auditing: Connection = self._engine.connect()
        self.auditing.execute(text(_CLOCK))
        self.auditing.execute(text(_QUIET))
        self._tables = ", ".join(self.auditing.execute(text(_TABLES)).scalars())
        self.databases = {actor: self._watched(Database(url, actor=actor), actor) for actor in (*WORKERS, PERSON)}

    def reset(self) -> None:
        """Empty, as if it had just been made."""
        self.auditing.execute(text(f"TRUNCATE {self._tables} RESTART IDENTITY"))
        self.auditing.execute(text("ALTER SEQUENCE worker_number RESTART"))

    @contextmanager
    def watched_by(self, watcher: Watcher) -> Iterator[None]:
        self.watcher = watcher
        try:
            yield
        finally:
            self.watcher = None

    def wait_until_unlocked(self, number: int) -> None:
        """Until Postgres has noticed that a worker's session is over: this much real time has to pass."""
        while self.auditing.execute(text(_LOCK), {"number": number}).scalar_one():
            continue

    def close(self) -> None:
        for database in self.databases.values():
            database.close()
        self.auditing.close()
        self._engine.dispose()

    def _watched(self, database: Database, actor: str) -> Database:
        def begin(connection: Connection) -> None:
            if self.watcher is not None:
                self.watcher.before_transaction()
                now = self.watcher.now_in_sql()
                connection.connection.cursor().execute("SELECT set_config('orchestrator.now', %s, false)", (now,))

        def before(_: Any, __: Any, statement: str, parameters: object, *___: object) -> None:
            if self.watcher is not None:
                self.watcher.note_statement(actor, statement, parameters)

        def after(_: Any, cursor: Any, statement: str, *__: object) -> None:
            if self.watcher is not None and cursor.rowcount and not statement.lstrip().startswith("SELECT"):
                self.watcher.note_change()

        database.engine.pool._pre_ping = False  # one question less a transaction; outages are simulated elsewhere
        event.listen(database.engine, "begin", begin)
        event.listen(database.engine, "before_cursor_execute", before)
        event.listen(database.engine, "after_cursor_execute", after)
        return database
