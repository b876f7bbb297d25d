"""The breaker of an account: after failures in a row the provider is taken for down, and nothing is paid until
something free has got an answer.

Its state is in the account's row, so that all workers share it. Every function is one guarded UPDATE and may run again.
"""

from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, func, null, or_, select, update

from orchestrator.store.database import NOW
from orchestrator.store.pacing import restart_carefully
from orchestrator.store.sending import in_seconds
from orchestrator.store.tables import accounts, submissions

#: So many failures in a row, of paid POSTs or of polls, open it.
FAILURES_TO_OPEN = 5
#: The first probe, and the longest time between two.
FIRST_PROBE_SECONDS = 5.0
LONGEST_PROBE_SECONDS = 60.0


def is_open(connection: Connection, account_pk: int) -> bool:
    """Whether the provider is taken for down."""
    opened_at = select(accounts.c.breaker_opened_at).where(accounts.c.pk == account_pk)
    return connection.execute(opened_at).scalar_one() is not None


def note_failure(connection: Connection, account_pk: int, submission_id: UUID) -> int:
    """A paid POST got no answer of the API's own; returns how many in a row. It may open the breaker.

    One that left before the breaker was last closed tells of the outage before, and counts for nothing.
    """
    sent_at = select(submissions.c.sent_at).where(submissions.c.id == submission_id).scalar_subquery()
    is_news = or_(accounts.c.breaker_closed_at.is_(None), sent_at > accounts.c.breaker_closed_at)
    return _count(connection, account_pk, accounts.c.breaker_failures, is_news)


def note_poll_failure(connection: Connection, account_pk: int) -> int:
    """A poll got no answer of the API's own; returns how many in a row. It may open the breaker, for free."""
    return _count(connection, account_pk, accounts.c.breaker_poll_failures)


def note_success(connection: Connection, account_pk: int) -> None:
    """The API itself answered a paid POST: the run of failures is over."""
    _end_run(connection, account_pk, accounts.c.breaker_failures)


def note_poll_success(connection: Connection, account_pk: int) -> None:
    """The API itself answered a poll, which is as good as a probe. It says nothing of paid POSTs that fail."""
    _end_run(connection, account_pk, accounts.c.breaker_poll_failures)


def take_probe(connection: Connection, account_pk: int) -> bool:
    """Whether to probe now. One worker is told so; the next probe is due in as long as it has been open, 5 to 60 s."""
    open_seconds = func.extract("epoch", NOW - accounts.c.breaker_opened_at)
    seconds = func.least(func.greatest(open_seconds, FIRST_PROBE_SECONDS), LONGEST_PROBE_SECONDS)
    return bool(
        connection.execute(
            update(accounts)
            .where(
                accounts.c.pk == account_pk,
                accounts.c.breaker_opened_at.is_not(None),
                accounts.c.breaker_probe_at <= NOW,
            )
            .values(breaker_probe_at=in_seconds(seconds))
        ).rowcount
    )


def close(connection: Connection, account_pk: int) -> bool:
    """The provider is back: one paid POST may be under way, then two, four ... True where it was open."""
    closed = connection.execute(
        update(accounts)
        .where(accounts.c.pk == account_pk, accounts.c.breaker_opened_at.is_not(None))
        .values(breaker_opened_at=null(), breaker_probe_at=null(), breaker_closed_at=NOW)
    ).rowcount
    if closed:
        restart_carefully(connection, account_pk)
    return bool(closed)


def _count(connection: Connection, account_pk: int, run: ColumnElement[int], *conditions: ColumnElement[bool]) -> int:
    """Count a failure unless the breaker is open; 0 where it counts for nothing."""
    counted: Any = connection.execute(
        update(accounts)
        .where(accounts.c.pk == account_pk, accounts.c.breaker_opened_at.is_(None), *conditions)
        .values({run: run + 1})
        .returning(run)
    ).scalar_one_or_none()
    if counted is not None and counted >= FAILURES_TO_OPEN:
        first = min(FIRST_PROBE_SECONDS * 2.0 ** min(counted - FAILURES_TO_OPEN, 10), LONGEST_PROBE_SECONDS)
        connection.execute(
            update(accounts)
            .where(accounts.c.pk == account_pk)
            .values(breaker_opened_at=NOW, breaker_probe_at=in_seconds(first))
        )
    return counted or 0


def _end_run(connection: Connection, account_pk: int, run: ColumnElement[int]) -> None:
    has_run = or_(run > 0, accounts.c.breaker_opened_at.is_not(None))
    ended = connection.execute(update(accounts).where(accounts.c.pk == account_pk, has_run).values({run: 0})).rowcount
    if ended:
        close(connection, account_pk)
