"""Opening the database of the settings, waiting out its outages, and bringing it to this release's schema (`db`)."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TypeVar

from orchestrator.base.settings import Settings
from orchestrator.store import migrate
from orchestrator.store.database import Connection, Database, OutOfReach
from orchestrator.store.embedded import EmbeddedPostgres, data_dir, running_url, was_used
from orchestrator.store.sessions import require_sessions

log = logging.getLogger("orchestrator.operations")
T = TypeVar("T")
_PAUSE_SECONDS = 0.5
#: How long somebody waits who has pressed Tab.
_GLANCE_SECONDS = 2


@contextmanager
def open_database(settings: Settings) -> Iterator[Database]:
    """The database of `settings`: the embedded one migrates itself, a shared one must be up to date.

    Raises Unusable where it cannot be reached, is at a schema that this release cannot work on, or is behind a pooler
    that keeps no session.
    """
    if settings.database_url is not None:
        database = Database(settings.database_url.get_secret_value(), actor=settings.actor)
        try:
            migrate.require_usable(database)
            require_sessions(database)
            yield database
        finally:
            database.close()
        return
    with EmbeddedPostgres(settings.home) as server:
        database = Database(server.url, actor=settings.actor, on_outage=server.ensure_running)
        try:
            if migrate.is_behind(database):
                migrate.upgrade(database)
            migrate.require_usable(database)
            yield database
        finally:
            database.close()


@contextmanager
def glance_at_database(settings: Settings) -> Iterator[Database | None]:
    """The database of `settings` as it is, for a quick read: nothing is made, migrated or waited for.

    An embedded one that does not run is started for as long as the glance takes; None where there is none yet.
    Reading raises OutOfReach where a shared one cannot be reached.
    """
    with ExitStack() as stack:
        shared = settings.database_url
        url = running_url(settings.home) if shared is None else shared.get_secret_value()
        if url is None:
            if not (was_used(settings.home) and data_dir(settings.home).exists()):
                yield None
                return
            url = stack.enter_context(EmbeddedPostgres(settings.home)).url
        database = Database(url, actor=settings.actor, connect_seconds=_GLANCE_SECONDS)
        stack.callback(database.close)
        yield database


def patiently(database: Database, work: Callable[[Connection], T], *, seconds: float = 30) -> T:
    """Run `work` in one transaction, over again while the database is out of reach; raises OutOfReach after `seconds`.

    `work` may run again where its commit had happened: repeating it must change nothing.
    """
    give_up_at = time.monotonic() + seconds
    while True:
        try:
            with database.begin() as connection:
                return work(connection)
        except OutOfReach:
            if time.monotonic() >= give_up_at:
                raise
            log.warning("the database is out of reach; trying again")
        time.sleep(_PAUSE_SECONDS)
        database.recover()


def upgrade(settings: Settings) -> str:
    """Migrate the database of `settings` and return the revision it is at. Safe to repeat, and to run twice at once.

    A newer one stays as it is. Raises Unusable where it cannot be reached, this release cannot work on it, or it is
    behind a pooler that keeps no session.
    """
    if settings.database_url is None:
        with open_database(settings) as database:  # the embedded one migrates itself
            return migrate.current(database) or migrate.head()
    database = Database(settings.database_url.get_secret_value(), actor=settings.actor)
    try:
        database.check()
        require_sessions(database)
        if migrate.is_behind(database):
            migrate.upgrade(database)
        migrate.require_usable(database)
        return migrate.current(database) or migrate.head()
    finally:
        database.close()
