"""`db recover`: take what the receipts prove into a database that was put back; and the refusal before that."""

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from orchestrator.base.errors import Unusable
from orchestrator.base.payments import Payment
from orchestrator.base.settings import Settings
from orchestrator.catalog.cache import load_catalog
from orchestrator.catalog.models import Catalog
from orchestrator.engine.receipts import Receipts, in_chunks
from orchestrator.operations.database import open_database
from orchestrator.operations.opening import Provider, provider_for
from orchestrator.payments.payers import configured_payments
from orchestrator.receipts.book import ReceiptBook, Slip, all_books
from orchestrator.store import accounts, adopting, migrate, reads, recovery
from orchestrator.store.database import Database
from orchestrator.store.embedded import EmbeddedPostgres, data_dir
from orchestrator.store.leases import rescue

#: Receipts adopted in one transaction.
_TOGETHER = 50


def require_known_receipts(settings: Settings, database: Database, provider: Provider | None = None) -> None:
    """Raises Unusable where the database does not know what the provider's account has bought. Without `provider`: what
    any account has bought that `settings` have a key for.
    """
    for one in _all_providers(settings) if provider is None else (provider,):
        with database.begin() as connection:
            account_pk = one.account_pk(connection)
        book = ReceiptBook(settings.home, one.origin, one.account)
        receipts = Receipts(book, database, account_pk)
        receipts.bring_up_to_date()
        receipts.take_over_top_ups()


def _all_providers(settings: Settings) -> list[Provider]:
    """Without a key that can be used nothing can be bought."""
    found = []
    for payment in configured_payments(settings):
        with suppress(Unusable):
            found.append(provider_for(settings, payment))
    return found


@dataclass(slots=True)
class Recovery:
    """What a recovery brought back."""

    adopted: list[adopting.Adopted] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """The document of `db recover`: how many requests, and the jobs of each batch, with those that are in doubt."""
        batches: dict[str, dict[str, Any]] = {}
        for one in self.adopted:
            new = {"batch": one.batch_id, "is_new": False, "requests": 0, "jobs": [], "in_doubt": []}
            batch = batches.setdefault(one.batch_id, new)
            batch["is_new"] |= one.is_new_batch
            batch["requests"] += 1
            batch["jobs"] += one.jobs
            batch["in_doubt"] += one.jobs if one.is_in_doubt else []
        return {"adopted": len(self.adopted), "batches": list(batches.values())}


def recover(settings: Settings) -> dict[str, Any]:
    """Adopt every purchase that a receipt proves and the database does not know: accepted requests for `resume` to
    fetch, and what was sent without an answer as money in doubt.

    Safe to repeat and to break off: the oldest are adopted first, and the database counts as behind until the newest
    is. Needs no credentials and sends nothing. Raises Unusable without a database, or where the embedded one has all.
    """
    catalog = load_catalog(settings.home)
    found = Recovery()
    with open_database(settings) as database:
        _require_nothing_in_the_home(settings, database)
        with database.begin() as connection:
            rescue(connection)  # what looks as if it were being sent was, before the backup was put back
        for book in all_books(settings.home):
            with database.begin() as connection:
                payment = Payment.of_account(book.account) or Payment.CREDITS
                account_pk = accounts.account_pk(connection, book.origin, book.account, payment.unit)
            Receipts(book, database, account_pk).settle_doubts()  # so that their jobs are free for later purchases
            for chunk in in_chunks(book):
                _adopt_missing(database, account_pk, chunk, catalog, found)
    return found.document()


def _require_nothing_in_the_home(settings: Settings, database: Database) -> None:
    """Raises Unusable where a shared database is empty since all is still in the embedded one."""
    if settings.database_url is None or _has_batches(database) or not data_dir(settings.home).exists():
        return
    with EmbeddedPostgres(settings.home) as server:
        embedded = Database(server.url, actor=settings.actor)
        try:
            require_moved(embedded)
        finally:
            embedded.close()


def require_moved(embedded: Database) -> None:
    """Raises Unusable where an embedded database has batches and is open: with what the receipts tell adopted by
    another one, both could be worked on, and this one be moved no more.
    """
    has_schema = migrate.current(embedded) is not None
    if has_schema and not migrate.is_marked(embedded) and _has_batches(embedded):
        raise Unusable(
            "everything is in the embedded database, and this one is empty: there is nothing to recover",
            hint="orchestrator db copy moves it here",
        )


def _has_batches(database: Database) -> bool:
    with database.begin() as connection:
        return bool(reads.recent_batches(connection, 1))


def _adopt_missing(database: Database, account_pk: int, chunk: list[Slip], catalog: Catalog, found: Recovery) -> None:
    with database.begin() as connection:
        compared = recovery.compare(connection, account_pk, chunk)
    missing = sorted([*compared.late, *compared.missing], key=lambda slip: slip.at)
    for start in range(0, len(missing), _TOGETHER):
        with database.begin() as connection:
            for slip in missing[start : start + _TOGETHER]:
                adopted = adopting.adopt(connection, account_pk, slip.receipt(), catalog)
                if adopted is not None:
                    found.adopted.append(adopted)
