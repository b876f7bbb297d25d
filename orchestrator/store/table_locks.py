"""Getting locks on tables that others work on: for a short time each, over and over, and with a word on who has them.

Whoever waits for a table's lock has all who come later wait behind: what is migrated waits no longer than this at once,
is rolled back and begun anew after a pause in which everybody goes on. The longest waits pass the second after which
Postgres looks for deadlocks, and only then has its autovacuum make way.
"""

import logging
import time
from collections.abc import Callable, Iterator
from itertools import chain, repeat

import psycopg.errors
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

from orchestrator.base.errors import Unusable

log = logging.getLogger("orchestrator.store")

GIVE_UP_AFTER_SECONDS = 300.0
#: How long to wait for a lock, and how long to let others go on before the next time. The last goes on for ever.
_TRIES = ((0.2, 0.2), (0.2, 0.5), (0.2, 1.0), (0.5, 2.0), (1.0, 3.0), (2.0, 4.0))
_MOST_TOLD = 3


def with_table_locks(
    connection: Connection, work: Callable[[], None], *, give_up_after_seconds: float = GIVE_UP_AFTER_SECONDS
) -> None:
    """Run `work`, which takes locks in transactions on this connection, again until it got all of them; and commit.

    A warning tells who is in the way. Raises Unusable, which says so too, after `give_up_after_seconds`.
    """
    give_up_at, told = time.monotonic() + give_up_after_seconds, ""
    try:
        for wait_seconds, pause_seconds in _tries():
            _wait_at_most(connection, wait_seconds)
            try:
                work()
                connection.commit()
                break
            except OperationalError as error:
                if not isinstance(error.orig, psycopg.errors.LockNotAvailable | psycopg.errors.DeadlockDetected):
                    raise
            connection.rollback()
            who = _in_the_way(connection, wait_seconds)
            if time.monotonic() >= give_up_at:
                raise Unusable(
                    f"no lock on the tables in {give_up_after_seconds:.0f} s: {who}", hint="end that, and try again"
                )
            if who != told:
                log.warning("waiting for a lock on the tables: %s", who)
            told = who
            time.sleep(pause_seconds)
    finally:
        connection.rollback()
        _wait_at_most(connection, 0)


def _tries() -> Iterator[tuple[float, float]]:
    return chain(_TRIES, repeat(_TRIES[-1]))


def _wait_at_most(connection: Connection, seconds: float) -> None:
    """For a lock; 0: without end."""
    connection.execute(text(f"SET lock_timeout = '{seconds}s'"))
    connection.commit()


def _in_the_way(connection: Connection, waited_seconds: float) -> str:
    """Who has had a lock on one of our tables for as long as that, the longest first."""
    rows = connection.execute(_HOLDERS, {"waited_seconds": waited_seconds, "most": _MOST_TOLD}).all()
    connection.rollback()
    told = [
        f"process {row.pid} has one since {row.since or 'a time that only its owner may see'}"
        f"{f' ({row.state})' if row.state else ''}{f', with {row.kind}' if row.kind else ''}"
        for row in rows
    ]
    return "; ".join(told) or "others have them by turns, none of them for long"


#: A statement's kind are the words that it begins with: up to anything that could be a value.
_HOLDERS = text(
    r"""
    SELECT activity.pid, to_char(activity.xact_start, 'YYYY-MM-DD HH24:MI:SS TZ') AS since, activity.state,
           rtrim(left(substring(activity.query FROM '^\s*([A-Za-z_.]+(\s+[A-Za-z_.]+)*)'), 60)) AS kind
    FROM pg_stat_activity AS activity
    WHERE coalesce(activity.xact_start < clock_timestamp() - make_interval(secs => :waited_seconds), true)
      AND activity.pid IN (
          SELECT pg_locks.pid FROM pg_locks JOIN pg_class ON pg_class.oid = pg_locks.relation
          WHERE pg_locks.granted AND pg_locks.pid <> pg_backend_pid()
            AND pg_locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())
            AND pg_class.relnamespace = CAST(current_schema() AS regnamespace)
      )
    ORDER BY activity.xact_start NULLS FIRST, activity.pid LIMIT :most
    """
)
