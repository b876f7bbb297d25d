"""Up to which key a table that only grows can be read so that nothing comes below it any more.

Keys are given out before they are committed, so a row may be seen before one with a lower key. Whoever inserts holds a
lock on the table, from before the first key is given out until the commit can be seen. So the last key that was given
out is noted first, and then who holds that lock: once all of these have ended, all rows up to the key are there.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection, text

log = logging.getLogger("orchestrator.store")

#: A transaction that has not ended by then is not waited for.
_PATIENCE_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class _Mark:
    key: int
    #: The transactions that may have been given keys up to it, and had not ended.
    writers: frozenset[str]
    noted_at: float


class Frontier:
    """Of one table, whose key is `pk`; for one reader, which asks again and again."""

    def __init__(self, table: str, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._table = table
        self._monotonic = monotonic
        self._settled = 0
        self._mark: _Mark | None = None
        self._given_up: frozenset[str] = frozenset()

    def settled(self, connection: Connection) -> int:
        """The key up to which the next statement of `connection` sees all rows that there will ever be."""
        if self._mark is not None and self._waits(self._mark, connection):
            return self._settled
        if self._mark is not None:
            self._settled = self._mark.key
        self._mark = self._note(connection)
        if not self._mark.writers:
            self._settled = self._mark.key
        return self._settled

    def _waits(self, mark: _Mark, connection: Connection) -> bool:
        writing = self._writers(connection)
        self._given_up &= writing
        late = mark.writers & writing
        if not late or self._monotonic() - mark.noted_at < _PATIENCE_SECONDS:
            return bool(late)
        log.warning(
            "a transaction that writes to the table %s has not ended for %d s: what it wrote is not told in logs, "
            "counters and Flower (virtual transactions in pg_locks: %s)",
            self._table, _PATIENCE_SECONDS, ", ".join(sorted(late)),
        )  # fmt: skip
        self._given_up |= late
        return False

    def _note(self, connection: Connection) -> _Mark:
        key = int(connection.execute(_LAST_KEY, {"name": self._table}).scalar() or 0)
        return _Mark(key, self._writers(connection) - self._given_up, self._monotonic())

    def _writers(self, connection: Connection) -> frozenset[str]:
        return frozenset(connection.execute(_WRITERS, {"name": self._table}).scalars())


#: None before the first one.
_LAST_KEY = text("SELECT pg_sequence_last_value(CAST(pg_get_serial_sequence(:name, 'pk') AS regclass))")
_WRITERS = text(
    """
    SELECT virtualtransaction FROM pg_locks
    WHERE locktype = 'relation' AND relation = CAST(:name AS regclass) AND mode = 'RowExclusiveLock' AND granted
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    """
)
