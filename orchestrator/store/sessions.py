"""Whether a connection of ours is one session of Postgres: session locks tell who lives and who leads.

A pooler may give each transaction another server connection. A lock taken there is nobody's in particular: it outlives
the worker that took it, and may end while that one works.
"""

from sqlalchemy import Connection, text

from orchestrator.base.errors import Unusable
from orchestrator.store.database import Database, outages_told


def require_sessions(database: Database) -> None:
    """Raises Unusable behind such a pooler, as far as two connections can tell; OutOfReach."""
    with outages_told(), database.engine.connect() as ours:
        ours = ours.execution_options(isolation_level="AUTOCOMMIT")
        server = server_of(ours)
        with database.engine.begin() as other:  # takes the connection that ours was just given, if that is free again
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
