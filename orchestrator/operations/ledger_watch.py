"""Whether the books balance, looked at all the time, one batch after the other: a duty of the leading worker."""

import logging
import time
from collections.abc import Callable

from orchestrator.base.logs import LogEvent, as_event
from orchestrator.store import audit
from orchestrator.store.database import Database, OutOfReach

log = logging.getLogger("orchestrator.operations")

#: From one batch to the next, and how many times longer than a batch took the next one waits at least.
_PAUSE_SECONDS = 5.0
_REST_FACTOR = 20


class LedgerWatch:
    """Audits the batches that are open or ended in the last day, in turn; `orchestrator ledger --check` audits all."""

    def __init__(self, database: Database, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._monotonic = monotonic
        self._next_at = 0.0
        self._unbalanced: set[str] = set()
        self._last = ""

    def unbalanced(self) -> int:
        """How many of those did not balance when they were looked at last."""
        return len(self._unbalanced)

    def look(self) -> None:
        """Audit the next batch when it is time; one that takes too long is left out."""
        begun_at = self._monotonic()
        if begun_at < self._next_at:
            return
        try:
            self._audit_next()
        except OutOfReach as error:
            log.warning("the ledger of %s cannot be audited now: %s", self._last or "any batch", error.message)
        finally:
            ended_at = self._monotonic()
            self._next_at = ended_at + max(_PAUSE_SECONDS, _REST_FACTOR * (ended_at - begun_at))

    def _audit_next(self) -> None:
        with self._database.begin() as connection:
            batch_ids = audit.recent_batches(connection)
        self._unbalanced &= set(batch_ids)
        if batch_ids:
            self._last = next((batch_id for batch_id in batch_ids if batch_id > self._last), batch_ids[0])
            with self._database.begin() as connection:
                findings = audit.audit_briefly(connection, self._last)
            self._note(self._last, [finding.message for finding in findings])

    def _note(self, batch_id: str, findings: list[str]) -> None:
        if findings and batch_id not in self._unbalanced:
            log.critical(
                "the ledger of %s does not balance (%s): orchestrator ledger %s --check",
                batch_id,
                findings[0],
                batch_id,
                extra=as_event(LogEvent.LEDGER_UNBALANCED, batch=batch_id, findings=len(findings)),
            )
            self._unbalanced.add(batch_id)
        elif not findings:
            self._unbalanced.discard(batch_id)
