"""Advisory locks of two keys, held by sessions that stand for something as long as they live: who holds which."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import BigInteger, Connection, Subquery, text

from orchestrator.store.database import Database, outages_told


def held_in(space: int, name: str) -> Subquery:
    """The second keys of the locks held in this database whose first key is `space`, as a subquery of this `name`."""
    return (
        text(
            "SELECT objid::bigint FROM pg_locks WHERE locktype = 'advisory' AND granted "
            "AND objsubid = 2 AND classid = :space "
            "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        .bindparams(space=space)
        .columns(objid=BigInteger())
        .subquery(name)
    )


@contextmanager
def session_lock(database: Database, space: int, key: int) -> Iterator[Connection | None]:
    """The connection whose session holds the lock, or None where another one does; the lock is let go at the end.

    It lasts as long as the session: whoever keeps it for long asks the connection now and then. Raises OutOfReach.
    """
    with outages_told():
        connection = database.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    taken: bool | None = None
    try:
        with outages_told():
            taken = connection.execute(
                text("SELECT pg_try_advisory_lock(:space, :key)"), {"space": space, "key": key}
            ).scalar_one()
        yield connection if taken else None
    finally:
        if taken is not False:
            connection.invalidate()  # the lock ends with the session
        connection.close()
