"""When there is work next: the seconds until each step has something to do."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Select, func, select

from orchestrator.base.states import SubmissionState
from orchestrator.store import breaker
from orchestrator.store.accounts import Scope
from orchestrator.store.database import NOW
from orchestrator.store.free_claims import COPY_QUEUES, waiting_copies
from orchestrator.store.heads import queue_heads, read_in_order
from orchestrator.store.holds import may_send
from orchestrator.store.pacing import WHOLE_ACCOUNT
from orchestrator.store.replaying import is_undecided
from orchestrator.store.room import Room
from orchestrator.store.tables import batches, jobs, paces, payments, submissions


@dataclass(frozen=True, slots=True)
class Due:
    """Seconds until the next step of each kind may start (0: now); None where nothing waits for it."""

    submit: float | None
    poll: float | None
    copy: float | None
    replay: float | None


#: The names of the steps.
KINDS = tuple(field.name for field in fields(Due))


def next_due(connection: Connection, scope: Scope, *, max_in_flight: int) -> Due:
    """The next instants at which each step has something to do."""
    return Due(**{kind: due_in(connection, scope, kind, max_in_flight=max_in_flight) for kind in KINDS})


def due_in(connection: Connection, scope: Scope, kind: str, *, max_in_flight: int) -> float | None:
    """The seconds until one kind of step has something to do: a field of Due.

    Jobs that have to wait until another one ends, or until the provider is back, are due at no instant.
    """
    if kind == "submit":
        return _submit_due(connection, scope, max_in_flight)
    read_in_order(connection)
    waits = [connection.execute(query).scalar_one_or_none() for query in _WAITS[kind](scope)]
    return min((max(wait.total_seconds(), 0.0) for wait in waits if wait is not None), default=None)


@lru_cache
def _poll_waits(scope: Scope) -> Sequence[Select[Any]]:
    paused_until = select(paces.c.paused_until).where(
        paces.c.account_pk == submissions.c.account_pk, paces.c.model == WHOLE_ACCOUNT
    )
    return [
        select(func.greatest(submissions.c.due_at, paused_until.scalar_subquery()) - NOW)
        .where(
            submissions.c.state == SubmissionState.ACCEPTED,
            submissions.c.lease_token.is_(None),
            scope.covers(submissions.c.account_pk, submissions.c.batch_id),
        )
        .order_by(submissions.c.due_at)
        .limit(1),
    ]


@lru_cache
def _copy_waits(scope: Scope) -> Sequence[Select[Any]]:
    return [waiting_copies(scope, queue, jobs.c.due_at - NOW).limit(1) for queue in COPY_QUEUES]


@lru_cache
def _replay_waits(scope: Scope) -> Sequence[Select[Any]]:
    return [
        select(payments.c.due_at - NOW)
        .join(submissions, submissions.c.id == payments.c.submission_id)
        .where(is_undecided(scope), payments.c.lease_token.is_(None))
        .order_by(payments.c.due_at)
        .limit(1),
    ]


#: Queries for the first waits of each kind but one.
_WAITS: dict[str, Callable[[Scope], Sequence[Select[Any]]]] = {
    "poll": _poll_waits,
    "copy": _copy_waits,
    "replay": _replay_waits,
}


def _submit_due(connection: Connection, scope: Scope, max_in_flight: int) -> float | None:
    if breaker.is_open(connection, scope.account_pk):
        return None
    sendable = select(batches.c.id).where(scope.covers(batches.c.account_pk, batches.c.id), may_send())
    heads = queue_heads(connection, connection.execute(sendable).scalars().all())
    room = Room(connection, scope.account_pk, max_in_flight=max_in_flight)
    waits = [(head, room.wait_seconds(head.model)) for head in heads]
    return min((max(head.due_in_seconds, wait) for head, wait in waits if wait is not None), default=None)
