"""Who works on what: a lease is a token, an owner and an end, and an owner lives as long as its session lock.

A worker process holds one advisory lock on a connection of its own. When the process dies, Postgres sees the
closed socket and the lock is gone, so that its work can be taken up at once; `lease_until` covers the rest
(a machine that vanished, a pooler between us and Postgres).
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    Integer,
    Table,
    Uuid,
    and_,
    bindparam,
    func,
    null,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.exc import DBAPIError

from orchestrator.base.states import EntryKind, JobState, SubmissionState
from orchestrator.store import ledger
from orchestrator.store.advisory_locks import held_in
from orchestrator.store.database import NOW, Database, may_be_gone, outages_told
from orchestrator.store.prices import UNQUOTED
from orchestrator.store.sessions import pooled_by_the_transaction, server_of
from orchestrator.store.tables import jobs, payments, submissions

#: First key of the advisory locks that mark living workers.
_LOCK_SPACE = 7_215_002


#: First key of those by which whoever has the keys of an account, and so sends, is known; all share one.
_KEYED_SPACE = 7_215_005
#: The numbers of the workers whose session lock is there, and the accounts of those that have keys, once for each.
_ALIVE = held_in(_LOCK_SPACE, "alive")
_KEYED = held_in(_KEYED_SPACE, "keyed")


def count_alive(connection: Connection) -> int:
    """How many owners of leases live: one for each account that a process works for."""
    return int(connection.execute(select(func.count()).select_from(_ALIVE)).scalar_one())


def senders_by_account(connection: Connection) -> dict[int, int]:
    """How many of them have the keys of which account; accounts that nobody has the keys of are not there."""
    found = connection.execute(select(_KEYED.c.objid, func.count().label("number")).group_by(_KEYED.c.objid))
    return {int(row.objid): int(row.number) for row in found}


def count_senders(connection: Connection, account_pk: int) -> int:
    """How many of them have the keys of this account."""
    return int(connection.execute(select(func.count()).where(_KEYED.c.objid == account_pk)).scalar_one())


class WorkerSession:
    """This process as an owner of leases. `number` changes when the connection had to be made anew.

    `keys_of` is the account whose keys it has; without them it sends nothing.

    `connected` counts the connections: a database that is put back gives out its numbers once more.
    """

    def __init__(
        self, database: Database, *, keys_of: int | None = None, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._database = database
        self._monotonic = monotonic
        self._keys_of = keys_of
        self._connection: Connection | None = None
        self._asked_at = 0.0
        self._server = 0
        self.number = 0
        self.connected = 0

    def ensure(self) -> int:
        """The number to lease under; takes the lock again if the connection was lost.

        Raises OutOfReach, and Unusable behind a pooler that keeps no session.
        """
        with outages_told():
            return self._ensure()

    def _ensure(self) -> int:
        if self._connection is not None:
            try:
                if self._is_the_same(self._connection):
                    return self.number
                raise pooled_by_the_transaction()
            except DBAPIError:
                self.close()
        connection = self._database.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        number = int(connection.execute(text("SELECT nextval('worker_number')")).scalar_one())
        connection.execute(text("SELECT pg_advisory_lock(:space, :number)"), {"space": _LOCK_SPACE, "number": number})
        if self._keys_of is not None:
            keyed = {"space": _KEYED_SPACE, "account_pk": self._keys_of}
            connection.execute(text("SELECT pg_advisory_lock_shared(:space, :account_pk)"), keyed)
        self._server, self._asked_at = server_of(connection), self._monotonic()
        _hand_over(connection, self.number, number)
        self.connected += 1
        self.number, self._connection = number, connection  # last: broken off before, all of it is done again
        return number

    def _is_the_same(self, connection: Connection) -> bool:
        """Whether the session is there and the server's own; asked now and then, and where it may have ended."""
        if not may_be_gone(connection.connection.dbapi_connection, idle_seconds=self._monotonic() - self._asked_at):
            return True
        is_the_same = server_of(connection) == self._server
        self._asked_at = self._monotonic()
        return is_the_same

    def close(self) -> None:
        """Let go: what is still leased can be taken up by others."""
        if self._connection is not None:
            self._connection.invalidate()
            self._connection.close()
            self._connection = None


def _hand_over(connection: Connection, before: int, number: int) -> None:
    """After an outage the work under way is still this process's: else it would look like a dead one's."""
    for table in (submissions, jobs, payments):
        connection.execute(update(table).where(table.c.lease_owner == before).values(lease_owner=number))


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to change one row; every finishing UPDATE carries its token.

    `is_new`: nothing can be leased by this token yet. Else it may be, where the answer of a commit was lost.
    """

    token: UUID
    owner: int
    seconds: float
    is_new: bool = False

    def parameters(self) -> dict[str, Any]:
        """What a statement with LEASE is given."""
        return {"token": self.token, "owner": self.owner, "seconds": self.seconds}


#: The column values that give a lease to a row.
LEASE: dict[str, Any] = {
    "lease_token": bindparam("token", type_=Uuid()),
    "lease_owner": bindparam("owner", type_=Integer()),
    "lease_until": text("orchestrator_now() + make_interval(secs => :seconds)"),
}
#: The column values that take a lease off a row.
NO_LEASE: dict[str, Any] = {"lease_token": null(), "lease_owner": null(), "lease_until": null()}


def is_dead(table: Table) -> ColumnElement[bool]:
    """Whether a row is leased by an owner that is gone, or for longer than it was to be: a rescue puts it back."""
    expired = table.c.lease_until < NOW
    return and_(table.c.lease_token.is_not(None), or_(expired, table.c.lease_owner.not_in(select(_ALIVE))))


def _dead_and_free(table: Table) -> ColumnElement[bool]:
    """Dead rows that no other rescue is at just now: two of them would wait for each other's rows."""
    key = next(iter(table.primary_key))
    return and_(key.in_(select(key).where(is_dead(table)).with_for_update(skip_locked=True)), is_dead(table))


@dataclass(frozen=True, slots=True)
class Rescued:
    """What a rescue put back: nothing of it is ever sent again by itself once bytes may have left."""

    not_sent: int
    in_doubt: int
    released: int
    doubtful_batches: frozenset[str] = frozenset()


def rescue(connection: Connection) -> Rescued:
    """Put back what dead workers held, in guarded UPDATEs.

    A submission that no byte left for returns its jobs to pending; one that may have left makes them in_doubt.
    Leases for polls, copies and payments are taken off.
    """
    not_sent = _end_dead(connection, SubmissionState.INTENDED, SubmissionState.NOT_SENT, JobState.PENDING)
    in_doubt = _end_dead(connection, SubmissionState.SENT, SubmissionState.UNKNOWN, JobState.IN_DOUBT)
    released = 0
    for table in (submissions, jobs, payments):
        released += connection.execute(update(table).where(_dead_and_free(table)).values(NO_LEASE)).rowcount
    doubtful = frozenset(str(row.batch_id) for row in in_doubt)
    return Rescued(len(not_sent), len(in_doubt), released, doubtful)


def _end_dead(
    connection: Connection, state: SubmissionState, end: SubmissionState, job_state: JobState
) -> Sequence[Any]:
    found = connection.execute(
        update(submissions)
        .where(submissions.c.state == state, _dead_and_free(submissions))
        .values(
            NO_LEASE
            | {"state": end, "ended_at": NOW if end is SubmissionState.NOT_SENT else null()}
            | {"answer": {"verdict": str(end), "reason": "the worker died before an answer was recorded"}}
        )
        .returning(submissions.c.id, submissions.c.batch_id)
    ).all()
    ids = [row.id for row in found]
    if ids:
        connection.execute(
            update(jobs)
            .where(jobs.c.submission_id.in_(ids), jobs.c.state == JobState.SUBMITTING)
            .values({"state": job_state} | (UNQUOTED if job_state is JobState.PENDING else {}))
        )
        kind = EntryKind.DOUBT if end is SubmissionState.UNKNOWN else EntryKind.RELEASE
        ledger.move(connection, kind, ids)
    return found
