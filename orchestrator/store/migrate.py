"""Bringing a database to this release's schema, and refusing to work on one that is not there."""

import logging
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from orchestrator.base.errors import Unusable
from orchestrator.store.database import Database

#: Session advisory lock that lets one migrator through at a time.
MIGRATION_LOCK = 7_215_001


def _scripts() -> Path:
    """The migrations: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).parents[1]
    installed = package / "migrations"
    return installed if installed.is_dir() else package.parent / "migrations"


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_scripts()).replace("%", "%%"))
    return config


def upgrade(database: Database) -> str:
    """Migrate to the newest schema under a lock, and return its revision."""
    logging.getLogger("alembic").setLevel(logging.WARNING)
    config = _config()
    with database.engine.connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": MIGRATION_LOCK})
        connection.commit()
        try:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            connection.commit()
        finally:
            connection.rollback()
            connection.execute(text("SELECT pg_advisory_unlock(:lock)"), {"lock": MIGRATION_LOCK})
            connection.commit()
    return head()


def head() -> str:
    """The revision this release's code was written for."""
    revision = ScriptDirectory.from_config(_config()).get_current_head()
    assert revision is not None
    return revision


def current(database: Database) -> str | None:
    """The revision the database is at; None for one that was never migrated."""
    with database.engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
        return str(found) if found else None


def is_behind(database: Database) -> bool:
    """Whether the database is at an older schema of ours (or at none), so that `upgrade` can help."""
    found = current(database)
    return found is None or (found != head() and found in _known_revisions())


def _known_revisions() -> set[str]:
    return {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}


def require_current(database: Database) -> None:
    """Raises Unusable unless the database is at this release's schema."""
    database.check()
    found = current(database)
    if found == head():
        return
    if found is not None and found not in _known_revisions():
        raise Unusable(
            f"the database schema ({found}) is newer than this release ({head()})",
            hint="update this installation",
        )
    state = "has no schema yet" if found is None else f"is at schema {found}, this release needs {head()}"
    raise Unusable(f"the database {state}", hint="run: orchestrator db upgrade")
