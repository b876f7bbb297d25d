"""`db copy`: from the embedded database to a shared one, which is the only one to be worked on from then on."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from orchestrator.base.errors import SpendRefused, Unusable, UsageError
from orchestrator.base.payments import Payment
from orchestrator.base.settings import Settings
from orchestrator.engine.receipts import Receipts
from orchestrator.receipts.book import all_books
from orchestrator.store import accounts, migrate, moving
from orchestrator.store.database import Database
from orchestrator.store.embedded import EmbeddedPostgres, data_dir
from orchestrator.store.sessions import require_sessions

_UPGRADE = "ORCHESTRATOR_DATABASE_URL=URL orchestrator db upgrade"


@dataclass(frozen=True, slots=True)
class Copied:
    """Where everything is, or is to be: how many rows of each table, and what of it needs files of this machine:
    open batches, and schedules with the paths of their manifests.
    """

    database: str
    rows: dict[str, int]
    bound_here: list[str]
    local_schedules: dict[str, str]


#: Whether it is to be moved; told what there is, and where it is to be.
Confirm = Callable[[Copied], bool]


def copy(settings: Settings, url: str | None = None, *, confirm: Confirm) -> Copied:
    """Move everything from the embedded database of `settings` to the one at `url` (None: the one of `settings`).

    It has to be migrated and empty; from then on the embedded one refuses to be worked on, so `confirm` is asked before
    it. Safe to repeat after any interruption; where the embedded one is closed already, nothing is asked. Raises
    UsageError without a database to copy to, SpendRefused where it is not confirmed, Unusable with the reason why
    nothing was moved.
    """
    named = "--to" if url is not None else "ORCHESTRATOR_DATABASE_URL"
    if url is None and settings.database_url is not None:
        url = settings.database_url.get_secret_value()
    if url is None:
        raise UsageError("there is no database to copy to", hint="--to URL, or set ORCHESTRATOR_DATABASE_URL")
    if not data_dir(settings.home).exists():
        raise Unusable(f"there is no embedded database in {settings.home}", hint="set ORCHESTRATOR_HOME to where it is")
    target = Database(url, actor=settings.actor, named=named)
    try:
        target.check()
        require_sessions(target)
        target.close()  # those connections would look like somebody who uses it
        with EmbeddedPostgres(settings.home) as server:
            source = Database(server.url, actor=settings.actor)
            try:
                return _moved(settings, source, target, confirm)
            finally:
                source.close()
    finally:
        target.close()


def _moved(settings: Settings, source: Database, target: Database, confirm: Confirm) -> Copied:
    if migrate.is_behind(source):
        migrate.upgrade(source)
    if migrate.current(target) is None:
        raise Unusable("the database to copy to has no schema yet", hint=f"run: {_UPGRADE}")
    if not migrate.is_marked(source):
        _require_known_receipts(settings, source)
        if not confirm(_told(source, target.label)):
            raise SpendRefused("not confirmed: nothing was moved", hint="say yes with --yes")
    rows = moving.move(source, target)
    return replace(_told(target, target.label), rows=rows)


def _told(database: Database, label: str) -> Copied:
    with database.begin() as connection:
        return Copied(
            label, moving.sizes(connection), moving.bound_to_a_machine(connection), moving.local_schedules(connection)
        )


def _require_known_receipts(settings: Settings, database: Database) -> None:
    """Raises Unusable where the database is behind what was bought: it would be so at its new place, too."""
    for book in all_books(settings.home):
        unit = (Payment.of_account(book.account) or Payment.CREDITS).unit
        with database.begin() as connection:
            account_pk = accounts.account_pk(connection, book.origin, book.account, unit)
        receipts = Receipts(book, database, account_pk)
        receipts.bring_up_to_date()
        receipts.take_over_top_ups()
