"""Which of many processes leads: the one whose session holds one lock of this database."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import text

from orchestrator.store.advisory_locks import session_lock
from orchestrator.store.database import Database, outages_told

_LOCK_SPACE = 7_215_004
_ONLY = 0


@contextmanager
def leadership(database: Database) -> Iterator[Callable[[], None] | None]:
    """None where another process leads. Else this one does: what is given raises OutOfReach once it does not any more.

    Raises OutOfReach.
    """
    with session_lock(database, _LOCK_SPACE, _ONLY) as holder:
        if holder is None:
            yield None
            return

        def confirm() -> None:
            with outages_told():
                holder.execute(text("SELECT 1"))

        yield confirm
