"""Connections to Postgres: one engine a process, short transactions, and a way back after an outage."""

import json
import logging
import select
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, DisconnectionError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import ConnectionPoolEntry

from orchestrator.base import faults
from orchestrator.base.errors import Unusable

__all__ = ["NOW", "Connection", "Database", "OutOfReach", "may_be_gone", "outages_told"]

log = logging.getLogger("orchestrator.store")
#: What our pools have in the name of their logger.
_POOL = "orchestrator"
#: It logs a traceback of each connection that does not close as it should (a second Ctrl-C, a server that went away);
#: what is wrong with one is told to whoever uses it.
logging.getLogger(f"sqlalchemy.pool.impl.QueuePool.{_POOL}").addFilter(lambda record: not record.exc_info)

#: The database's clock. Deadlines and leases are judged by it, never by a worker's own clock.
NOW = text("orchestrator_now()")


#: Connections that were not used for so long are asked whether they are still there.
_IDLE_SECONDS = 1.0
#: SQLSTATEs after which the same work may succeed later: connection, resources, shutdown, serialization, a primary
#: that has just become a standby, and a lock that someone else still held.
_OUTAGE_STATES = ("08", "53", "57", "40", "25006", "55P03")


class OutOfReach(Unusable):
    """The database cannot be reached just now."""


class Database:
    """A Postgres database. `begin()` is the only way in: one short transaction each.

    `on_outage` is called when the server cannot be reached (the embedded server is started again by it). After
    `connect_seconds` a host that does not answer counts as out of reach. `named` is where the user wrote the URL.

    Raises Unusable for what is no URL of a Postgres database.
    """

    def __init__(
        self,
        url: str,
        *,
        actor: str,
        on_outage: Callable[[], None] = lambda: None,
        connect_seconds: int = 10,
        named: str = "ORCHESTRATOR_DATABASE_URL",
    ) -> None:
        try:
            parsed = make_url(url)
        except (ArgumentError, ValueError):
            raise Unusable(f"{named} is not a database URL") from None
        if parsed.drivername not in ("postgresql", "postgres", "postgresql+psycopg"):
            raise Unusable(
                f"{named} names {parsed.drivername}; the store is Postgres",
                hint="use postgresql://user:password@host/database",
            )
        self.url = parsed.set(drivername="postgresql+psycopg")
        self.on_outage = on_outage
        self._named = named
        self.engine: Engine = create_engine(
            self.url,
            isolation_level="READ COMMITTED",  # whatever is usual there: who waited for a lock sees what came before it
            hide_parameters=True,  # signatures are among them, and an error is logged
            pool_logging_name=_POOL,
            pool_size=10,
            max_overflow=10,
            json_serializer=_dump_json,
            connect_args={
                # A plan of a prepared statement may come to know no values, and partial indexes are of no use to it.
                "prepare_threshold": None,
                "connect_timeout": connect_seconds,
                # A server that vanished without a word (failover, NAT) is noticed within half a minute.
                "keepalives": 1,
                "keepalives_idle": 10,
                "keepalives_interval": 5,
                "keepalives_count": 3,
                "tcp_user_timeout": 30_000,  # milliseconds
                "application_name": "orchestrator",
            },
        )
        event.listen(self.engine, "connect", partial(_set_up, actor=actor))
        event.listen(self.engine, "checkin", _note_use)
        event.listen(self.engine, "checkout", partial(_ping_doubtful, self.engine))

    def __repr__(self) -> str:
        return f"Database({self.label})"

    @property
    def label(self) -> str:
        """The database to show to people: its name and host. The rest of the URL may hold secrets, also its query."""
        host = self.url.host or self.url.query.get("host", "the local host")
        port = f":{self.url.port}" if self.url.port else ""
        return f"{self.url.database} on {host if isinstance(host, str) else ', '.join(host)}{port}"

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """A transaction: committed on leaving, rolled back on any error.

        Raises OutOfReach where the server or the connection is gone; the commit may have happened then.
        """
        with outages_told():
            with self.engine.begin() as connection:
                yield connection
                faults.point("db.commit")
            faults.point("db.committed")

    def check(self) -> None:
        """Raises Unusable unless the server answers."""
        try:
            with self.engine.connect() as connection:
                connection.execute(text("SELECT 1"))
        except DBAPIError as error:
            raise Unusable(
                f"the database {self.label} cannot be used: {str(error.orig).strip().splitlines()[0]}",
                hint=f"check {self._named}",
            ) from None

    def recover(self) -> None:
        """After an outage: have the embedded server started again, if it is that. Raises nothing."""
        try:
            self.on_outage()
        except Unusable as error:
            log.warning("%s", error.message)

    def close(self) -> None:
        self.engine.dispose()


@contextmanager
def outages_told() -> Iterator[None]:
    """Turns the loss of the server or the connection into OutOfReach; other errors of the database pass."""
    try:
        yield
    except PoolTimeout as error:
        raise OutOfReach("the database cannot be reached now: all connections of this process are in use") from error
    except DBAPIError as error:
        if _is_outage(error):
            reason = next(iter(str(error.orig).strip().splitlines()), "no reason given")
            raise OutOfReach(f"the database cannot be reached now: {reason}") from error
        raise


def _is_outage(error: DBAPIError) -> bool:
    state = getattr(error.orig, "sqlstate", None)
    if state is None:  # nothing came from the server: the connection broke, unless it is a value that cannot be sent
        return error.connection_invalidated or isinstance(error, OperationalError | InterfaceError)
    return error.connection_invalidated or str(state).startswith(_OUTAGE_STATES)


def _dump_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _note_use(_: object, record: ConnectionPoolEntry) -> None:
    record.info["used_at"] = time.monotonic()


def _ping_doubtful(engine: Engine, connection: Any, record: ConnectionPoolEntry, _: object) -> None:
    """To ask each time would double the round trips of short transactions."""
    used_at = record.info.get("used_at")
    if used_at is None:
        return  # just made
    try:
        if may_be_gone(connection, idle_seconds=time.monotonic() - used_at):
            engine.dialect.do_ping(connection)
    except connection.Error as error:
        raise DisconnectionError from error


def may_be_gone(connection: Any, *, idle_seconds: float) -> bool:
    """Whether a connection of psycopg was not used for long, or the server said something unasked: it does so only
    where it ends a connection.
    """
    return idle_seconds >= _IDLE_SECONDS or _has_been_spoken_to(connection)


def _has_been_spoken_to(connection: Any) -> bool:
    waiting = select.poll()
    waiting.register(connection.fileno(), select.POLLIN)
    return bool(waiting.poll(0))


def _set_up(connection: Any, _: object, *, actor: str) -> None:
    """What each new connection is told. Not at its start: poolers refuse what they do not know there."""
    connection.autocommit = True
    connection.execute(
        "SELECT set_config('orchestrator.actor', %s, false), set_config('timezone', 'UTC', false)",
        [actor.replace("\0", "")],
    )
    connection.autocommit = False
