"""Which of many processes leads: the one whose session holds one lock of this database."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from orchestrator.store.advisory_locks import session_lock
from orchestrator.store.database import Database, OutOfReach, outages_told
from orchestrator.store.sessions import server_of

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

        with outages_told():
            server = server_of(holder)

        def confirm() -> None:
            with outages_told():
                if server_of(holder) != server:
                    raise OutOfReach("the session that led is gone: the connection is another one's")

        yield confirm
