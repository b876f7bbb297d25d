"""Opening the database of the settings, and bringing it to this release's schema (`db`)."""

from collections.abc import Iterator
from contextlib import contextmanager

from orchestrator.base.settings import Settings
from orchestrator.store import migrate
from orchestrator.store.database import Database
from orchestrator.store.embedded import EmbeddedPostgres


@contextmanager
def open_database(settings: Settings) -> Iterator[Database]:
    """The database of `settings`: the embedded one migrates itself, a shared one must be up to date.

    Raises Unusable where it cannot be reached or is at another schema.
    """
    if settings.database_url is not None:
        database = Database(settings.database_url.get_secret_value(), actor=settings.actor)
        try:
            migrate.require_current(database)
            yield database
        finally:
            database.close()
        return
    with EmbeddedPostgres(settings.home) as server:
        database = Database(server.url, actor=settings.actor, on_outage=server.ensure_running)
        try:
            if migrate.is_behind(database):
                migrate.upgrade(database)
            migrate.require_current(database)
            yield database
        finally:
            database.close()


def upgrade(settings: Settings) -> str:
    """Migrate the database of `settings` and return the revision it is at. Safe to repeat, and to run twice at once.

    Raises Unusable where it cannot be reached, or is newer than this release.
    """
    if settings.database_url is None:
        with open_database(settings) as database:  # the embedded one migrates itself
            return migrate.current(database) or migrate.head()
    database = Database(settings.database_url.get_secret_value(), actor=settings.actor)
    try:
        database.check()
        if migrate.is_behind(database):
            migrate.upgrade(database)
        migrate.require_current(database)
        return migrate.head()
    finally:
        database.close()
