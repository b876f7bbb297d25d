"""`db`: bringing the database to this release's schema."""

from orchestrator.base.settings import Settings
from orchestrator.operations.opening import open_database
from orchestrator.store import migrate
from orchestrator.store.database import Database


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
