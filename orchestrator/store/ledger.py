"""The ledger's only writers: every credit is moved from one book to another in the transaction that makes it true.

Rows are added, never changed; what is in a book is the sum of what was moved there less what was moved away.
Every function is set-based: one statement for any number of submissions or jobs.
"""

from collections.abc import Iterable, Mapping
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Numeric,
    TextClause,
    Uuid,
    bindparam,
    case,
    func,
    literal,
    or_,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY

from orchestrator.base.states import Book, EntryKind
from orchestrator.store.tables import ledger as entries

_COLUMNS = "at, day, account_pk, batch_id, submission_id, job_pk, kind, from_book, to_book, amount, usd_per_credit"

_RESERVE = text(
    f"""
    INSERT INTO ledger ({_COLUMNS})
    SELECT orchestrator_now(), least(CAST(:day AS date), (orchestrator_now() AT TIME ZONE 'UTC')::date),
           job.account_pk, job.batch_id, job.submission_id, job.pk,
           'reserve', 'available', 'reserved', coalesce(job.price, job.estimate), batch.usd_per_credit
    FROM job JOIN batch ON batch.id = job.batch_id
    WHERE job.submission_id = ANY(:submissions) AND coalesce(job.price, job.estimate) > 0
    """  # noqa: S608 - constants only
).bindparams(bindparam("submissions", type_=ARRAY(Uuid())))

_RESERVE_MORE = text(
    f"""
    INSERT INTO ledger ({_COLUMNS})
    SELECT orchestrator_now(), coalesce(before.day, (orchestrator_now() AT TIME ZONE 'UTC')::date),
           job.account_pk, job.batch_id, job.submission_id, job.pk,
           'reserve', 'available', 'reserved', told.more, batch.usd_per_credit
    FROM unnest(:jobs, :amounts) AS told (job_pk, more)
    JOIN job ON job.pk = told.job_pk
    JOIN batch ON batch.id = job.batch_id
    CROSS JOIN LATERAL (
        SELECT min(day) AS day FROM ledger
        WHERE ledger.submission_id = job.submission_id AND ledger.job_pk = job.pk AND kind = 'reserve'
    ) AS before
    """  # noqa: S608 - constants only
).bindparams(bindparam("jobs", type_=ARRAY(BigInteger())), bindparam("amounts", type_=ARRAY(Numeric())))

_RESERVE_LESS = text(
    f"""
    INSERT INTO ledger ({_COLUMNS})
    SELECT orchestrator_now(), before.day, job.account_pk, job.batch_id, job.submission_id, job.pk,
           'release', 'reserved', 'available', told.less, batch.usd_per_credit
    FROM unnest(:jobs, :amounts) AS told (job_pk, less)
    JOIN job ON job.pk = told.job_pk
    JOIN batch ON batch.id = job.batch_id
    CROSS JOIN LATERAL (
        SELECT min(day) AS day FROM ledger
        WHERE ledger.submission_id = job.submission_id AND ledger.job_pk = job.pk AND kind = 'reserve'
    ) AS before
    """  # noqa: S608 - constants only
).bindparams(bindparam("jobs", type_=ARRAY(BigInteger())), bindparam("amounts", type_=ARRAY(Numeric())))


def _move_all(kind: EntryKind, source: Book, target: Book) -> TextClause:
    """The statement that moves all that some submissions have in `source` to `target`."""
    held = f"sum(CASE to_book WHEN '{source}' THEN amount ELSE -amount END)"
    return text(
        f"""
        INSERT INTO ledger ({_COLUMNS})
        SELECT orchestrator_now(), day, account_pk, batch_id, submission_id, job_pk,
               '{kind}', '{source}', '{target}', {held}, usd_per_credit
        FROM ledger
        WHERE submission_id = ANY(:submissions) AND '{source}' IN (from_book, to_book)
        GROUP BY day, account_pk, batch_id, submission_id, job_pk, usd_per_credit
        HAVING {held} > 0
        """  # noqa: S608 - constants only
    ).bindparams(bindparam("submissions", type_=ARRAY(Uuid())))


#: The ways of each kind that moves everything a submission has in a book.
_WAYS = {
    EntryKind.RELEASE: ((Book.RESERVED, Book.AVAILABLE), (Book.IN_DOUBT, Book.AVAILABLE)),
    EntryKind.DOUBT: ((Book.RESERVED, Book.IN_DOUBT),),
    EntryKind.CLEAR: ((Book.IN_DOUBT, Book.RESERVED),),
    EntryKind.LOSS: ((Book.IN_DOUBT, Book.LOST),),
    EntryKind.REFUND: ((Book.LOST, Book.AVAILABLE),),
}
_MOVES = {kind: [_move_all(kind, *way) for way in ways] for kind, ways in _WAYS.items()}

_CHARGE = text(
    f"""
    WITH told AS (
        SELECT * FROM unnest(:jobs, :submissions, :amounts) AS told (job_pk, submission_id, charged)
    ), held AS (
        SELECT submission_id, job_pk, min(day) AS day,
               sum(CASE to_book WHEN 'reserved' THEN amount ELSE -amount END) AS amount
        FROM ledger
        WHERE submission_id = ANY(:submissions) AND 'reserved' IN (from_book, to_book)
        GROUP BY submission_id, job_pk
    ), charged AS (
        SELECT job.pk, job.account_pk, job.batch_id, told.submission_id, told.charged,
               coalesce(held.amount, 0) AS held,
               coalesce(held.day, (orchestrator_now() AT TIME ZONE 'UTC')::date) AS day
        FROM told JOIN job ON job.pk = told.job_pk
        LEFT JOIN held ON held.job_pk = told.job_pk AND held.submission_id = told.submission_id
    )
    INSERT INTO ledger ({_COLUMNS})
    SELECT orchestrator_now(), charged.day, charged.account_pk, charged.batch_id, charged.submission_id, charged.pk,
           move.kind, move.from_book, move.to_book, move.amount, batch.usd_per_credit
    FROM charged JOIN batch ON batch.id = charged.batch_id
    CROSS JOIN LATERAL (VALUES
        ('charge', 'reserved', 'spent', least(charged.held, charged.charged)),
        ('charge', 'available', 'spent', greatest(charged.charged - charged.held, 0)),
        ('release', 'reserved', 'available', greatest(charged.held - charged.charged, 0))
    ) AS move (kind, from_book, to_book, amount)
    WHERE move.amount > 0
    """  # noqa: S608 - constants only
).bindparams(
    bindparam("jobs", type_=ARRAY(BigInteger())),
    bindparam("submissions", type_=ARRAY(Uuid())),
    bindparam("amounts", type_=ARRAY(Numeric())),
)


def reserve(connection: Connection, submission_ids: Iterable[UUID], day: date | None = None) -> None:
    """Set aside the price of every job of new submissions, in the transaction that writes them.

    It counts in the caps of today, or of the UTC `day` on which it was bought, where that is past.
    """
    connection.execute(_RESERVE, {"submissions": list(submission_ids), "day": day})


def reserve_more(connection: Connection, more: Mapping[int, Decimal]) -> None:
    """Set aside more credits for jobs (by row) that are already reserved for, on the day of their first reserve."""
    if more:
        connection.execute(_RESERVE_MORE, {"jobs": list(more), "amounts": list(more.values())})


def reserve_less(connection: Connection, less: Mapping[int, Decimal]) -> None:
    """Release a part of what is reserved for jobs (by row), to the day of their first reserve."""
    if less:
        connection.execute(_RESERVE_LESS, {"jobs": list(less), "amounts": list(less.values())})


def move(connection: Connection, kind: EntryKind, submission_ids: Iterable[UUID]) -> None:
    """Move all that these submissions have in the book (or books) that `kind` takes from.

    `kind` is one of release, doubt, clear, loss and refund. Repeating it moves nothing more.
    """
    ids = list(submission_ids)
    for statement in _MOVES[kind]:
        connection.execute(statement, {"submissions": ids})


def charge(connection: Connection, charges: Mapping[int, tuple[UUID, Decimal]]) -> None:
    """Settle the reserve of jobs (by row) at what they cost in a submission, in the account's unit.

    What the reserve has more is released to the day it was reserved on; what passes it is charged on top.
    """
    if charges:
        parameters: dict[str, Any] = {
            "jobs": list(charges),
            "submissions": [submission_id for submission_id, _ in charges.values()],
            "amounts": [amount for _, amount in charges.values()],
        }
        connection.execute(_CHARGE, parameters)


def in_book(connection: Connection, submission_id: UUID, book: Book) -> Decimal:
    """What a submission has in a book, in the account's unit."""
    return Decimal(connection.execute(select(held_in(book, literal(submission_id, Uuid())))).scalar_one())


def held_in(book: Book, submission_id: ColumnElement[UUID]) -> ColumnElement[Decimal]:
    """`in_book` as a part of a statement."""
    signed = case((entries.c.to_book == book, entries.c.amount), else_=-entries.c.amount)
    is_about = or_(entries.c.from_book == book, entries.c.to_book == book)
    found = select(func.coalesce(func.sum(signed), 0)).where(entries.c.submission_id == submission_id, is_about)
    return found.scalar_subquery()
