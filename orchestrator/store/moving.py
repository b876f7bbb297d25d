"""Moving everything from one database into another one, so that at no time both can be worked on.

What every release reads before it works on a database is `alembic_version`: the schema, and where it does not know
that, the oldest code for it. While a copy is `arriving`, and once its source has `moved`, both are words that no
release knows, with the revision and the source's identity behind:

1. the target is filled, marked as arriving and takes no writes, in one transaction: killed before, it is empty;
2. the source is marked as moved, and takes no writes any more: killed before that, the source is as it was;
3. the target's mark is taken off and it takes writes: killed before that, the same command only does this last step.

The mark stops who opens a database, the refusal to write who has it open.
"""

import hashlib
import time
from typing import Any

from sqlalchemy import Connection, Table, delete, func, not_, or_, select, text
from sqlmodel import SQLModel

from orchestrator.base.errors import Unusable
from orchestrator.base.states import ENDED_BATCHES
from orchestrator.store import migrate, tables
from orchestrator.store.audit import audit
from orchestrator.store.database import Database

_TABLES = [table for table in SQLModel.metadata.sorted_tables if table is not tables.transitions]
_NAMES = ", ".join(f'"{table.name}"' for table in _TABLES)
_OTHERS = text(
    "SELECT count(*) FROM pg_stat_activity "
    "WHERE datname = current_database() AND application_name = 'orchestrator' AND pid <> pg_backend_pid()"
)
_LEAVE_SECONDS, _LOOK_SECONDS = 2.0, 0.05
_STOP_THEM = "stop every orchestrator process that uses it, then again"
_EMBEDDED, _TARGET = "the embedded database", "the database to copy to"


def move(source: Database, target: Database) -> dict[str, int]:
    """Copy all rows, prove that they are the same and that the books are, and close the source for good.

    Returns how many rows each table has; none where an earlier call had moved them, and this one finished it. Safe to
    repeat after any interruption. Raises Unusable where one of both is in use, the source was moved elsewhere, or the
    target is at another schema or holds anything.
    """
    with source.begin() as here:
        _lock(here)
        identity = _identity(here)
        if _is_marked(here, "moved", identity):
            _open(target, identity)
            return {}
        migrate.require_revision(here, migrate.head(), of=_EMBEDDED)
        _require_unused(here, _EMBEDDED)
        with target.begin() as there:
            rows = _fill(here, there, identity)
        _close(here, identity, moved_to=target.label)
    _open(target, identity)
    return rows


def bound_to_a_machine(connection: Connection) -> list[str]:
    """The open batches that no other machine can work, since they have files of this one, sorted."""
    batches = tables.batches.c
    is_local = or_(
        batches.sandbox, not_(batches.destination.startswith("s3://")), not_(batches.media.startswith("s3://"))
    )
    found = connection.execute(select(batches.id).where(is_local, batches.state.not_in(ENDED_BATCHES)))
    return sorted(str(batch_id) for batch_id in found.scalars())


def local_schedules(connection: Connection) -> dict[str, str]:
    """The schedules whose manifest is a file of this machine, and which file, by name."""
    schedules = tables.schedules.c
    found = connection.execute(
        select(schedules.name, schedules.manifest).where(not_(schedules.manifest.contains("://")))
    )
    return {row.name: row.manifest for row in found.all()}


def sizes(connection: Connection) -> dict[str, int]:
    """How many rows each table has."""
    return {table.name: _count(connection, table) for table in _TABLES}


def _lock(connection: Connection) -> None:
    """Nobody writes, migrates or moves from here on until the end of the transaction; who starts waits for it."""
    connection.execute(text("SET LOCAL lock_timeout = '10s'"))
    connection.execute(text("LOCK TABLE alembic_version IN ACCESS EXCLUSIVE MODE"))
    connection.execute(text(f"LOCK TABLE {_NAMES} IN EXCLUSIVE MODE"))


def _identity(connection: Connection) -> str:
    """What tells this database from every other one."""
    found = connection.execute(
        text(
            "SELECT system_identifier::text || ':' || oid FROM pg_control_system(), pg_database "
            "WHERE datname = current_database()"
        )
    ).scalar_one()
    return hashlib.sha256(str(found).encode()).hexdigest()[:16]


def _require_unused(connection: Connection, of: str) -> None:
    """Whoever had opened it would go on with it; one that has just ended may still be seen. Raises Unusable."""
    give_up_at = time.monotonic() + _LEAVE_SECONDS
    while connection.execute(_OTHERS).scalar_one():
        if time.monotonic() > give_up_at:
            raise Unusable(f"{of} is in use by another process", hint=_STOP_THEM)
        time.sleep(_LOOK_SECONDS)
        connection.execute(text("SELECT pg_stat_clear_snapshot()"))


def _is_marked(connection: Connection, word: str, identity: str) -> bool:
    """Whether it has this mark of ours, maybe from an earlier call by another release."""
    mark = migrate.mark_of(connection)
    return mark is not None and (mark.word, mark.source) == (word, identity)


def _fill(here: Connection, there: Connection, identity: str) -> dict[str, int]:
    _lock(there)
    revision = migrate.head()
    if (mark := migrate.mark_of(there)) == migrate.Mark("arriving", revision, identity):
        _empty(there)  # by an earlier call of ours, that ended before the source was closed
    elif mark is not None:
        raise Unusable(f"{_TARGET} holds another copy, or was itself moved", hint="make a new, empty one")
    else:
        migrate.require_revision(there, revision, of=_TARGET)
    _require_unused(there, _TARGET)
    filled = _filled(there)
    if filled == [tables.accounts.name]:
        _forget_bare_accounts(there)
        filled = _filled(there)
    if filled:
        raise Unusable(f"{_TARGET} is not empty ({', '.join(filled)})", hint="make a new one and migrate it")
    for table in _TABLES:
        _copy(table, here, there)
    _copy_sequences(here, there)
    _refuse_writes(there, "what was to be copied to this database is not all there")
    migrate.set_mark(there, migrate.Mark("arriving", revision, identity))
    return _require_same(here, there)


def _filled(connection: Connection) -> list[str]:
    return [table.name for table in _TABLES if connection.execute(select(1).select_from(table).limit(1)).first()]


def _forget_bare_accounts(connection: Connection) -> None:
    """Whoever looks at a new database, as `doctor` and workers do, is known to it then; without a cap that says nothing
    as long as nothing else is there.
    """
    is_bare = tables.accounts.c.daily_cap.is_(None) & tables.accounts.c.monthly_cap.is_(None)
    connection.execute(delete(tables.accounts).where(is_bare))


def _empty(connection: Connection) -> None:
    connection.execute(text(f"TRUNCATE {_NAMES}"))


def _copy(table: Table, here: Connection, there: Connection) -> None:
    """All rows of one table, as they are: its triggers, which would write down what happens, are off meanwhile."""
    columns = ", ".join(f'"{column.name}"' for column in table.columns)
    there.execute(text(f'ALTER TABLE "{table.name}" DISABLE TRIGGER USER'))
    with (
        _cursor(here).copy(f'COPY "{table.name}" ({columns}) TO STDOUT (FORMAT BINARY)') as rows,
        _cursor(there).copy(f'COPY "{table.name}" ({columns}) FROM STDIN (FORMAT BINARY)') as into,
    ):
        for chunk in rows:
            into.write(chunk)
    there.execute(text(f'ALTER TABLE "{table.name}" ENABLE TRIGGER USER'))


def _cursor(connection: Connection) -> Any:
    """psycopg's own, for COPY, in the transaction of `connection`."""
    return connection.connection.cursor()


def _copy_sequences(here: Connection, there: Connection) -> None:
    """So that the next number is one that was never given out."""
    found = here.execute(
        text("SELECT sequencename, last_value FROM pg_sequences WHERE schemaname = 'public' AND last_value IS NOT NULL")
    ).all()
    for name, last in found:
        there.execute(text("SELECT setval(CAST(:name AS regclass), :last)"), {"name": f'"{name}"', "last": last})


def _require_same(here: Connection, there: Connection) -> dict[str, int]:
    """The rows by table. Raises Unusable unless both have the same number of each, and the same books."""
    counts = {table.name: [_count(one, table) for one in (here, there)] for table in _TABLES}
    different = [name for name, (ours, theirs) in counts.items() if ours != theirs]
    if different or audit(here) != audit(there):
        raise Unusable(f"the copy is not the same ({', '.join(different) or 'its books'}); nothing was moved")
    return {name: ours for name, (ours, _) in counts.items()}


def _count(connection: Connection, table: Table) -> int:
    return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


def _close(connection: Connection, identity: str, *, moved_to: str) -> None:
    """For good."""
    _refuse_writes(connection, "this database was moved: nothing is written to it any more")
    migrate.set_mark(connection, migrate.Mark("moved", migrate.head(), identity), moved_to=moved_to)


def _refuse_writes(connection: Connection, reason: str) -> None:
    """Also to a process that has it open, which does not look at the mark again."""
    connection.execute(text(_REFUSE))
    for table in _TABLES:
        connection.execute(
            text(
                f'CREATE OR REPLACE TRIGGER moved BEFORE INSERT OR UPDATE OR DELETE ON "{table.name}" '
                f"FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_write('{reason}')"
            )
        )


_REFUSE = """
CREATE OR REPLACE FUNCTION refuse_to_write() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%', TG_ARGV[0] USING ERRCODE = '25006';
END $$
"""


def _take_writes(connection: Connection) -> None:
    connection.execute(text("DROP FUNCTION IF EXISTS refuse_to_write() CASCADE"))  # with its triggers


def _open(target: Database, identity: str) -> None:
    """Let a copy whose source is closed be worked on. Raises Unusable where that is not what is there."""
    with target.begin() as there:
        if _is_marked(there, "arriving", identity):
            _take_writes(there)
            migrate.take_mark_off(there)
            return
    raise Unusable("the embedded database was moved before, and its copy is open", hint=migrate.USE_THE_COPY)
