"""Whether a connection of ours is one session of Postgres: session locks tell who lives and who leads.

A pooler may give each transaction another server connection. A lock taken there is nobody's in particular: it outlives
the worker that took it, and may end while that one works.
"""

from contextlib import ExitStack

from sqlalchemy import Connection, text

from orchestrator.base.errors import Unusable
from orchestrator.store.database import Database, outages_told

#: With so many transactions open beside it, a quiet pool of any size gives itself away, in whatever order it gives out
#: its connections; a busy one mostly.
_OTHERS = 3


def require_sessions(database: Database) -> None:
    """Raises Unusable behind such a pooler, as far as a few connections can tell; OutOfReach."""
    with outages_told(), ExitStack() as stack:
        ours = stack.enter_context(database.engine.connect()).execution_options(isolation_level="AUTOCOMMIT")
        server = server_of(ours)
        for _ in range(_OTHERS):  # each takes a connection; one takes ours, where that is free again
            other = stack.enter_context(database.engine.begin())
            if server_of(other) == server or server_of(ours) != server:
                raise pooled_by_the_transaction()


def server_of(connection: Connection) -> int:
    """Which process of the server answers this connection."""
    return int(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())


def pooled_by_the_transaction() -> Unusable:
    return Unusable(
        "the database is behind a pooler that changes sessions between transactions: nobody could tell which workers "
        "live",
        hint="set pool_mode = session for this database (PgBouncer), or connect to Postgres itself",
    )
