"""Following what happens in all batches, to measure and log it: the events and the charges since the last look.

Rows get their numbers before they are committed. So a row is read only when it is some seconds old: by then all before
it are there, too. What took longer to commit is not told: nothing but numbers and logs may hang on it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import takewhile
from typing import Any

from sqlalchemy import Connection, TextClause, text

from orchestrator.base.payments import Payment

#: Transactions are far shorter than this.
_SETTLED_SECONDS = 5
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
    #: From the end of the work, 72 hours before its files expire (guide, "Response Format"), to this.
    since_made_seconds: float | None


@dataclass(frozen=True, slots=True)
class Charge:
    """An amount, in the payment's unit, came into the book `spent` or `lost`; or another entry, and then it is 0."""

    pk: int
    payment: Payment
    book: str
    amount: Decimal


def last_happening_told(connection: Connection) -> int:
    """The event after which a new reader begins."""
    return _begin(connection, _LAST_EVENT)


def last_charge_told(connection: Connection) -> int:
    """The entry of the ledger after which a new reader begins."""
    return _begin(connection, _LAST_ENTRY)


def happenings_after(connection: Connection, pk: int) -> list[Happening]:
    """The next events after this one, at most a page of them."""
    return [_happening(row) for row in _settled(connection, _HAPPENINGS, pk)]


def charges_after(connection: Connection, pk: int) -> list[Charge]:
    """The next entries of the ledger after this one, at most a page of them."""
    return [Charge(row.pk, Payment(row.payment), row.book, row.amount) for row in _settled(connection, _CHARGES, pk)]


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


def _begin(connection: Connection, query: TextClause) -> int:
    return int(connection.execute(query, {"seconds": _BEGIN_SECONDS}).scalar() or 0)


def _settled(connection: Connection, query: TextClause, pk: int) -> Iterator[Any]:
    rows = connection.execute(query, {"after": pk, "page": PAGE, "seconds": _SETTLED_SECONDS}).all()
    return takewhile(lambda row: not row.is_fresh, rows)


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
           extract(epoch FROM event.at - job.source_expires_at + interval '72 hours') AS since_made,
           event.at > orchestrator_now() - make_interval(secs => :seconds) AS is_fresh
    FROM event JOIN batch ON batch.id = event.batch_id
    LEFT JOIN job ON event.entity = 'job' AND job.batch_id = event.batch_id AND job.name = event.entity_id
    LEFT JOIN submission ON submission.id = job.submission_id
    WHERE event.pk > :after ORDER BY event.pk LIMIT :page
    """
)
_CHARGES = text(
    """
    SELECT ledger.pk, batch.payment, ledger.to_book AS book,
           CASE WHEN ledger.to_book IN ('spent', 'lost') AND NOT batch.sandbox THEN ledger.amount ELSE 0 END AS amount,
           ledger.at > orchestrator_now() - make_interval(secs => :seconds) AS is_fresh
    FROM ledger JOIN batch ON batch.id = ledger.batch_id
    WHERE ledger.pk > :after ORDER BY ledger.pk LIMIT :page
    """
)
