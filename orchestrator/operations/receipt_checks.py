"""What `doctor` finds in the receipts: whether the database knows all that they prove."""

from collections.abc import Iterator

from orchestrator.base.payments import Payment
from orchestrator.base.settings import Settings
from orchestrator.engine.receipts import in_chunks
from orchestrator.operations.check import Check, Health
from orchestrator.receipts.book import ReceiptBook, all_books
from orchestrator.store import accounts, recovery
from orchestrator.store.database import Database
from orchestrator.store.embedded import was_used


def receipts(settings: Settings, database: Database) -> Iterator[Check]:
    """Nothing where there are none yet: a check of all accounts that left some here."""
    books = all_books(settings.home)
    unknown = sum(_count_unknown(book, database) for book in books)
    if unknown:
        message = f"the database is behind its receipts: it does not know {unknown} requests (was it put back?), so "
        yield Check("receipts", Health.FAIL, f"{message}nothing is sent", _hint(settings))
    elif books:
        yield Check("receipts", Health.OK, "the database knows all that was sent")


def _hint(settings: Settings) -> str:
    recover = "orchestrator db recover takes them over; then orchestrator resume fetches what they made"
    if settings.database_url is None or not was_used(settings.home):
        return recover
    return f"if they are in this home's embedded database, move it: orchestrator db copy --to URL; else {recover}"


def _count_unknown(book: ReceiptBook, database: Database) -> int:
    unit = (Payment.of_account(book.account) or Payment.CREDITS).unit
    count = 0
    with database.begin() as connection:
        account_pk = accounts.account_pk(connection, book.origin, book.account, unit)
        for chunk in in_chunks(book):
            count += len(recovery.compare(connection, account_pk, chunk).missing)
    return count
