"""The database of the simulation: a real Postgres whose clock is ours, and whose every statement is watched."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import psycopg
from sqlalchemy import Connection, create_engine, event, text
from sqlalchemy.exc import OperationalError

from orchestrator.store.database import Database

from .virtual import EPOCH

#: Who connects: workers by their number, and the person at the command line.
WORKERS = ("worker-0", "worker-1")
PERSON = "person"

#: A test database's own clock: a sequence, because what it is set to is seen by every connection at once.
_CLOCK = f"""
CREATE SEQUENCE simulated_clock MINVALUE 0;
CREATE OR REPLACE FUNCTION orchestrator_now() RETURNS timestamptz LANGUAGE sql STABLE AS
$$ SELECT timestamptz '{EPOCH.isoformat()}' + last_value * interval '1 microsecond' FROM simulated_clock $$
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
        self.url = url
        self._told_seconds = -1.0
        self.auditing.execute(text(_CLOCK))
        self.auditing.execute(text(_QUIET))
        self._tables = list(self.auditing.execute(text(_TABLES)).scalars())
        self.databases = {actor: self._watched(Database(url, actor=actor), actor) for actor in (*WORKERS, PERSON)}

    def reset(self) -> None:
        """Empty, as if it had just been made."""
        self.auditing.execute(text(f"TRUNCATE {', '.join(self._tables)} RESTART IDENTITY"))
        self.auditing.execute(text("ALTER SEQUENCE worker_number RESTART"))
        self.auditing.execute(text("DROP SCHEMA IF EXISTS backup CASCADE"))

    def set_clock(self, seconds: float) -> None:
        """What time it is in SQL: seconds since `EPOCH`."""
        if seconds != self._told_seconds:
            self._told_seconds = seconds
            self.auditing.execute(text("SELECT setval('simulated_clock', :now)"), {"now": round(seconds * 1_000_000)})

    def back_up(self) -> None:
        """Keep all rows as they are now."""
        self.auditing.execute(text("DROP SCHEMA IF EXISTS backup CASCADE"))
        self.auditing.execute(text("CREATE SCHEMA backup"))
        for table in self._tables:
            self.auditing.execute(text(f"CREATE TABLE backup.{table} AS TABLE public.{table}"))

    def put_back(self) -> None:
        """Have the rows of the backup again; what came after it is gone."""
        with self._engine.begin() as connection:
            connection.execute(text("SET session_replication_role = replica"))  # no triggers, no foreign keys
            connection.execute(text(f"TRUNCATE {', '.join(self._tables)}"))
            for table in self._tables:
                rows = f"INSERT INTO public.{table} OVERRIDING SYSTEM VALUE SELECT * FROM backup.{table}"
                connection.execute(text(rows))
            connection.execute(text("SET session_replication_role = DEFAULT"))

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
        def begin(_: Connection) -> None:
            if self.watcher is not None:
                self.watcher.before_transaction()

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
