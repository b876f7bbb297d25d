"""Whether the books balance, looked at all the time, one batch after the other: a duty of the leading worker."""

import logging
import time
from collections.abc import Callable

from orchestrator.base.logs import LogEvent, as_event
from orchestrator.store import audit
from orchestrator.store.database import Database

log = logging.getLogger("orchestrator.operations")

#: From one batch to the next, and how many times longer than a batch took the next one waits at least.
_PAUSE_SECONDS = 5.0
_REST_FACTOR = 20
#: A batch that is too large is tried again so much later.
_TOO_LARGE_SECONDS = 3600.0


class LedgerWatch:
    """Audits the batches that are open or ended in the last day, in turn; `orchestrator ledger --check` audits all."""

    def __init__(self, database: Database, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._monotonic = monotonic
        self._next_at = 0.0
        self._unbalanced: set[str] = set()
        self._too_large_until: dict[str, float] = {}
        self._last = ""

    def unbalanced(self) -> int:
        """How many of those did not balance when they were looked at last."""
        return len(self._unbalanced)

    def too_large(self) -> int:
        """How many of those take too long to be audited all the time."""
        return len(self._too_large_until)

    def look(self) -> None:
        """Audit the next batch when it is time."""
        begun_at = self._monotonic()
        if begun_at < self._next_at:
            return
        try:
            self._audit_next()
        finally:
            ended_at = self._monotonic()
            self._next_at = ended_at + max(_PAUSE_SECONDS, _REST_FACTOR * (ended_at - begun_at))

    def _audit_next(self) -> None:
        with self._database.begin() as connection:
            recent = audit.recent_batches(connection)
        now = self._monotonic()
        self._unbalanced &= set(recent)
        self._too_large_until = {
            batch_id: until for batch_id, until in self._too_large_until.items() if batch_id in recent and until > now
        }
        waiting = [batch_id for batch_id in recent if batch_id not in self._too_large_until]
        if waiting:
            self._last = next((batch_id for batch_id in waiting if batch_id > self._last), waiting[0])
            self._audit(self._last)

    def _audit(self, batch_id: str) -> None:
        with self._database.begin() as connection:
            findings = audit.audit_briefly(connection, batch_id)
        if findings is None:
            self._too_large_until[batch_id] = self._monotonic() + _TOO_LARGE_SECONDS
            log.warning(
                "the ledger of %s is too large to be audited all the time: orchestrator ledger --check", batch_id
            )
        elif not findings:
            self._unbalanced.discard(batch_id)
        elif batch_id not in self._unbalanced:
            self._unbalanced.add(batch_id)
            log.critical(
                "the ledger of %s does not balance (%s): orchestrator ledger %s --check",
                batch_id,
                findings[0].message,
                batch_id,
                extra=as_event(LogEvent.LEDGER_UNBALANCED, batch=batch_id, findings=len(findings)),
            )
