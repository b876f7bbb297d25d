"""Bringing a database to this release's schema, and refusing to work on one that its code does not fit.

Migrations expand first and take away a release later: between the two, the code of both releases works on the schema.
Alembic is imported only to migrate; whether that is due, the names of the files tell: REVISION_words.py.
"""

import logging
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, text

from orchestrator.base.errors import Unusable
from orchestrator.store.database import Database
from orchestrator.store.table_locks import GIVE_UP_AFTER_SECONDS, with_table_locks

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.runtime.migration import MigrationContext, MigrationInfo

#: Session advisory lock that lets one migrator through at a time.
MIGRATION_LOCK = 7_215_001
#: What to do with a database that was moved.
USE_THE_COPY = "set ORCHESTRATOR_DATABASE_URL to the database it was moved to"
_UPGRADE = "run: orchestrator db upgrade"
_MARK_PARTS = 3


def _scripts() -> Path:
    """The migrations: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).parents[1]
    installed = package / "migrations"
    return installed if installed.is_dir() else package.parent / "migrations"


def _config() -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_scripts()).replace("%", "%%"))
    return config


def upgrade(database: Database, *, give_up_after_seconds: float = GIVE_UP_AFTER_SECONDS) -> str:
    """Migrate to the newest schema under a lock, and return its revision.

    Raises Unusable where others have the tables for as long as that: the schema is as it was then, or at a revision
    between.
    """
    from alembic import command

    logging.getLogger("alembic").setLevel(logging.WARNING)
    config = _config()
    with database.engine.connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": MIGRATION_LOCK})
        connection.commit()
        try:
            config.attributes["connection"] = connection
            with_table_locks(
                connection, lambda: command.upgrade(config, "head"), give_up_after_seconds=give_up_after_seconds
            )
        finally:
            connection.rollback()
            connection.execute(text("SELECT pg_advisory_unlock(:lock)"), {"lock": MIGRATION_LOCK})
            connection.commit()
    return head()


def head() -> str:
    """The revision this release's code was written for."""
    return max(revisions())


def current(database: Database) -> str | None:
    """The revision the database is at; None for one that was never migrated."""
    with database.engine.connect() as connection:
        return _version(connection)


def _version(connection: Connection) -> str | None:
    if connection.execute(text("SELECT to_regclass('alembic_version')")).scalar() is None:
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return str(found) if found else None


def is_behind(database: Database) -> bool:
    """Whether the database is at an older schema of ours (or at none), so that `upgrade` can help."""
    found = current(database)
    return found is None or (found != head() and found in revisions())


@cache
def revisions() -> frozenset[str]:
    """The revisions that this release knows."""
    return frozenset(file.name.partition("_")[0] for file in _scripts().glob("versions/[0-9]*.py"))


def require_usable(database: Database) -> None:
    """Raises Unusable unless this release's code can work on the database's schema: its own, or a newer one that took
    nothing away yet, so that releases may run side by side while they are exchanged.
    """
    database.check()
    with database.engine.connect() as connection:
        if (mark := mark_of(connection)) is not None:
            raise _marked(connection, mark)
    found = current(database)
    if found == head():
        return
    if found is None or found in revisions():
        state = "has no schema yet" if found is None else f"is at schema {found}, this release needs {head()}"
        raise Unusable(f"the database {state}", hint=_UPGRADE)
    if _oldest_code(database) not in revisions():
        raise Unusable(
            f"the database schema ({found}) is newer than this release ({head()})",
            hint="update this installation",
        )


@dataclass(frozen=True, slots=True)
class Mark:
    """Why a database is not to be worked on (`moving`): `word` is arriving or moved. It takes the revision's place,
    where every release looks first, and stands before the oldest code's, where it looks next.
    """

    word: str
    revision: str
    source: str

    def __str__(self) -> str:
        return f"{self.word}/{self.revision}/{self.source}"


def mark_of(connection: Connection) -> Mark | None:
    """The mark of a database; None for one that may be worked on, or was never migrated."""
    parts = (_version(connection) or "").split("/")
    return Mark(*parts) if len(parts) == _MARK_PARTS else None


def set_mark(connection: Connection, mark: Mark, *, moved_to: str | None = None) -> None:
    """Put a mark on a database; it may have one."""
    for column in ("moved_to", "oldest_code"):
        connection.execute(text(f"ALTER TABLE alembic_version ADD COLUMN IF NOT EXISTS {column} text"))
    connection.execute(
        text(
            "UPDATE alembic_version SET version_num = CAST(:mark AS text), moved_to = :moved_to, "
            "oldest_code = CAST(:mark AS text) || '/' || split_part(oldest_code, '/', -1)"
        ),
        {"mark": str(mark), "moved_to": moved_to},
    )


def take_mark_off(connection: Connection) -> None:
    """Have a database that has a mark be worked on, at the schema that it was marked at."""
    connection.execute(
        text(
            "UPDATE alembic_version "
            "SET version_num = split_part(version_num, '/', 2), oldest_code = split_part(oldest_code, '/', -1)"
        )
    )


def is_marked(database: Database) -> bool:
    """Whether the database is not to be worked on, or no more."""
    with database.engine.connect() as connection:
        return mark_of(connection) is not None


def require_revision(connection: Connection, revision: str, *, of: str) -> None:
    """Raises Unusable unless the database is at exactly this revision, and may be worked on."""
    if (mark := mark_of(connection)) is not None:
        raise _marked(connection, mark)
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    if found != revision:
        raise Unusable(f"{of} is at schema {found}, this release is at {revision}", hint=_UPGRADE)


def _marked(connection: Connection, mark: Mark) -> Unusable:
    if mark.word == "moved":
        moved_to = connection.execute(text("SELECT moved_to FROM alembic_version")).scalar()
        return Unusable(f"this database was moved to {moved_to}: nothing is done with it any more", hint=USE_THE_COPY)
    return Unusable(
        "what was to be copied to this database is not all there", hint="run orchestrator db copy again, to its end"
    )


def note_oldest_code(*, ctx: "MigrationContext", step: "MigrationInfo", **_: Any) -> None:
    """Called by Alembic in the transaction of each migration: write down whose code may work on what it made.

    A migration says so as `oldest_code`, the revision that the oldest such code was written for; without it, it is its
    own.
    """
    from alembic.script import ScriptDirectory

    assert ctx.connection is not None
    assert step.up_revision_id is not None
    migration = ScriptDirectory.from_config(_config()).get_revision(step.up_revision_id)
    oldest = getattr(migration.module, "oldest_code", migration.revision)
    ctx.connection.execute(text("ALTER TABLE alembic_version ADD COLUMN IF NOT EXISTS oldest_code text"))
    ctx.connection.execute(text("UPDATE alembic_version SET oldest_code = :oldest"), {"oldest": oldest})


def _oldest_code(database: Database) -> str | None:
    """None where a release made the schema that said nothing about it."""
    with database.engine.connect() as connection:
        found = connection.execute(text("SELECT to_jsonb(v) ->> 'oldest_code' FROM alembic_version AS v")).scalar()
        return str(found) if found else None
