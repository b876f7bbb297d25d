"""What an engine does with the receipts of its account: leave them for whatever is sent, and refuse to buy anything
while the database does not know what they prove.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from uuid import UUID

from orchestrator.base.errors import Unusable
from orchestrator.receipts.book import NOTHING_READ, ReceiptBook, ReceiptFailed, Slip
from orchestrator.receipts.receipt import Receipt, TopUpReceipt
from orchestrator.store import recovery, top_ups
from orchestrator.store.database import Database

log = logging.getLogger("orchestrator.engine")

#: A database that was put back lacks an end of its history, so the newest receipts tell: for these to be known and an
#: earlier one not, so many POSTs would have had to be under way at once. (`db recover` adopts the oldest first.)
NEWEST = 1000
#: Receipts compared in one transaction.
CHUNK = 5000
#: How long, after a receipt could not be left, to wait before looking whether one can be.
LOOK_AGAIN_SECONDS = 2.0
#: A top-up that is older is nothing that anybody repeats, and no doubt that it bears on is still open.
_RECENT = timedelta(hours=72)


class Receipts:
    """The receipts of one account and the database that should know them. Blocks; safe to use from threads."""

    def __init__(self, book: ReceiptBook, database: Database, account_pk: int) -> None:
        self._book = book
        self._database = database
        self._account_pk = account_pk
        self._is_writable = False  # until the first look
        self._look_again_at = 0.0
        self._looked_for: set[UUID] = set()
        self._read = NOTHING_READ
        self._lock = threading.Lock()

    def keep(self, *receipts: Receipt) -> bool:
        """Leave receipts. Where that does not work it is said, and False: what was heard is still to be committed."""
        try:
            self._book.write(*receipts)
        except ReceiptFailed as error:
            self._is_writable = False
            for receipt in receipts:
                word = f"{receipt.says} {receipt.request_id or ''}".strip()
                log.critical("submission %s: %s: %s", receipt.order.submission_id, word, error.message)
            return False
        return True

    def keep_top_up(self, receipt: TopUpReceipt) -> bool:
        """Leave the receipt of a top-up, before it is sent. False: it cannot be written, which is said."""
        try:
            self._book.write_top_up(receipt)
        except ReceiptFailed as error:
            log.critical("top-up %s: %s", receipt.id, error.message)
            return False
        return True

    def take_over_top_ups(self) -> None:
        """Make the rows of the recent top-ups that a database does not know, since it was put back perhaps.

        They are without their signatures, which no receipt has: each is looked up on its chain, and sent by nobody.
        """
        with self._database.begin() as connection:
            for receipt in self._book.top_ups_since(datetime.now(UTC) - _RECENT):
                if top_ups.take_over(connection, self._account_pk, receipt):
                    log.warning("the top-up of %s is taken over from its receipt", receipt.created_at.isoformat())

    def can_be_kept(self) -> bool:
        """Whether the next receipt can be left, looked at anew after one could not: else nothing may be bought."""
        if not self._is_writable and time.monotonic() >= self._look_again_at:
            try:
                self._book.require_writable()
                self._is_writable = True
            except ReceiptFailed as error:
                self._look_again_at = time.monotonic() + LOOK_AGAIN_SECONDS
                log.critical("%s; %s", error.message, error.hint)
        return self._is_writable

    def bring_up_to_date(self) -> None:
        """Record the answers that a process had heard and died before it wrote them down.

        Raises Unusable where the database does not know what was bought, with how much that is.
        """
        with self._lock:
            found = self._compare(self._book.newest(NEWEST))
            self._record_late(found.late)
            self._settle_doubts()
            if found.missing:
                self._refuse()

    def settle_doubts(self) -> None:
        """Record what became of submissions in doubt, where their receipts say it."""
        with self._lock:
            self._settle_doubts()

    def _settle_doubts(self) -> None:
        self._record_late(self._answers_to_doubts())

    def _compare(self, slips: Sequence[Slip]) -> recovery.Comparison:
        with self._database.begin() as connection:
            return recovery.compare(connection, self._account_pk, slips)

    def _refuse(self) -> None:
        missing = [slip for chunk in in_chunks(self._book) for slip in self._compare(chunk).missing]
        if not missing:
            return  # recovered meanwhile
        since = min(slip.at for slip in missing)
        raise Unusable(
            f"the database is behind its receipts: it does not know {len(missing)} requests that were sent since "
            f"{since:%Y-%m-%dT%H:%M:%SZ} (was it put back?), so nothing is sent",
            hint="orchestrator db recover takes them over; then orchestrator resume fetches what they made",
        )

    def _answers_to_doubts(self) -> list[Slip]:
        """The receipts of submissions that are in doubt. All are read for those that came into doubt since the last
        look, else only what was written since: another process may hear its answer long after it was given up.
        """
        with self._database.begin() as connection:
            sent_at = recovery.in_doubt_since(connection, self._account_pk)
        beyond = self._read if sent_at.keys() <= self._looked_for else NOTHING_READ
        self._looked_for, self._read = set(sent_at), self._book.sizes()
        if not sent_at:
            return []
        first_day = min(sent_at.values()).astimezone(UTC).date()
        return [slip for slip in self._book.answers_since(first_day, beyond) if slip.submission_id in sent_at]

    def _record_late(self, slips: Sequence[Slip]) -> None:
        """Told once for each batch: after a crash there may be very many."""
        recorded = Counter[str]()
        for receipt in (slip.receipt() for slip in slips):
            recorded[receipt.order.batch.id] += self._record(receipt)
        for batch_id, count in (+recorded).items():
            log.warning(
                "batch %s: %d answer(s) that were heard before are recorded from their receipts", batch_id, count
            )

    def _record(self, receipt: Receipt) -> bool:
        with self._database.begin() as connection:
            is_new = recovery.record_late(connection, receipt)
        if is_new:
            said = receipt.request_id or receipt.says
            log.info("submission %s: its answer (%s) was heard before", receipt.order.submission_id, said)
        return is_new


def in_chunks(book: ReceiptBook) -> Iterator[list[Slip]]:
    """All purchases, the oldest first, in chunks that one transaction can compare.

    However old: what cannot be fetched any more is not to be bought again either.
    """
    slips = book.purchases()
    while chunk := list(islice(slips, CHUNK)):
        yield chunk
