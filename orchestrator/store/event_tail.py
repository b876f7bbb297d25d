"""Following what happens in all batches, to measure, log and show it: the events and the charges since the last look,
each once and in the order of their keys, also where a transaction commits late (see `frontier`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection, TextClause, text

from orchestrator.base.payments import Payment
from orchestrator.store.frontier import Frontier

#: Where a new reader begins: about where the one before it was, which has just died.
_BEGIN_SECONDS = 15
#: What is read at once.
PAGE = 2000


@dataclass(frozen=True, slots=True)
class Happening:
    """A batch, job or submission came into a state. Of a job also what it is and how far its request is."""

    pk: int
    at: datetime
    batch_id: str
    entity: str
    entity_id: str
    is_sandbox: bool
    from_state: str | None
    to_state: str
    model: str | None
    error: str | None
    request_id: str | None
    polls: int | None
    #: From the acceptance of the job's request to this.
    since_accepted_seconds: float | None
    #: From the end of the work, 72 hours before its files expire (guide, "Response Format"), to its being seen; None
    #: of any other event, and where the provider has not said when they do.
    since_made_seconds: float | None


@dataclass(frozen=True, slots=True)
class Charge:
    """An amount, in the payment's unit, came into the book `spent` or `lost`; or another entry, and then it is 0."""

    pk: int
    payment: Payment
    book: str
    amount: Decimal


R = TypeVar("R", bound=Happening | Charge)


@dataclass(frozen=True, slots=True)
class Source(Generic[R]):
    """What can be followed: a table that only grows, and what is read of it."""

    table: str
    begin: TextClause
    query: TextClause
    of_row: Callable[[Any], R]


class Tail(Generic[R]):
    """A reader of one source. It begins behind the key `after`, by default some seconds ago."""

    def __init__(self, source: Source[R], after: int | None = None) -> None:
        self._source = source
        self._after = after
        self._frontier = Frontier(source.table)

    def read(self, connection: Connection) -> list[R]:
        """The next rows, at most a page of them; the same again, until they are told to be passed."""
        if self._after is None:
            found = connection.execute(self._source.begin, {"seconds": _BEGIN_SECONDS}).scalar()
            self._after = int(found or 0)
        bounds = {"after": self._after, "up_to": self._frontier.settled(connection), "page": PAGE}
        return [self._source.of_row(row) for row in connection.execute(self._source.query, bounds)]

    def passed(self, row: R) -> None:
        """Go on behind this row."""
        self._after = row.pk


def newest_happening(connection: Connection) -> int:
    """The highest key that can be seen; 0 where there is none."""
    return int(connection.execute(text("SELECT coalesce(max(pk), 0) FROM event")).scalar_one())


def _happening(row: Any) -> Happening:
    return Happening(
        pk=row.pk,
        at=row.at,
        batch_id=row.batch_id,
        entity=row.entity,
        entity_id=row.entity_id,
        is_sandbox=row.sandbox,
        from_state=row.from_state,
        to_state=row.to_state,
        model=row.model,
        error=row.error,
        request_id=row.request_id,
        polls=row.polls,
        since_accepted_seconds=None if row.since_accepted is None else float(row.since_accepted),
        since_made_seconds=None if row.since_made is None else float(row.since_made),
    )


def _charge(row: Any) -> Charge:
    return Charge(row.pk, Payment(row.payment), row.book, row.amount)


_LAST_EVENT = text(
    "SELECT pk FROM event WHERE at <= orchestrator_now() - make_interval(secs => :seconds) ORDER BY pk DESC LIMIT 1"
)
_LAST_ENTRY = text(
    "SELECT pk FROM ledger WHERE at <= orchestrator_now() - make_interval(secs => :seconds) ORDER BY pk DESC LIMIT 1"
)
_HAPPENINGS = text(
    """
    SELECT event.pk, event.at, event.batch_id, event.entity, event.entity_id, event.from_state, event.to_state,
           batch.sandbox, job.model, job.error ->> 'code' AS error, submission.request_id, submission.polls,
           extract(epoch FROM event.at - submission.accepted_at) AS since_accepted,
           CASE WHEN event.entity = 'job' AND event.to_state = 'copying' THEN (
               SELECT extract(epoch FROM event.at - min(asset.source_expires_at) + interval '72 hours')
               FROM asset WHERE asset.job_pk = job.pk
           ) END AS since_made
    FROM event JOIN batch ON batch.id = event.batch_id
    LEFT JOIN job ON event.entity = 'job' AND job.batch_id = event.batch_id AND job.name = event.entity_id
    LEFT JOIN submission ON submission.id = job.submission_id
    WHERE event.pk > :after AND event.pk <= :up_to ORDER BY event.pk LIMIT :page
    """
)
_CHARGES = text(
    """
    SELECT ledger.pk, batch.payment, ledger.to_book AS book,
           CASE WHEN ledger.to_book IN ('spent', 'lost') AND NOT batch.sandbox THEN ledger.amount ELSE 0 END AS amount
    FROM ledger JOIN batch ON batch.id = ledger.batch_id
    WHERE ledger.pk > :after AND ledger.pk <= :up_to ORDER BY ledger.pk LIMIT :page
    """
)

HAPPENINGS = Source("event", _LAST_EVENT, _HAPPENINGS, _happening)
CHARGES = Source("ledger", _LAST_ENTRY, _CHARGES, _charge)
