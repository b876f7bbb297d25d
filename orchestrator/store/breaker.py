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
#: The longest time without one after a paid POST was lost right after a probe had worked: each may cost a job.
LONGEST_REST_SECONDS = 3600.0


def is_open(connection: Connection, account_pk: int) -> bool:
    """Whether the provider is taken for down."""
    opened_at = select(accounts.c.breaker_opened_at).where(accounts.c.pk == account_pk)
    return connection.execute(opened_at).scalar_one() is not None


def note_failure(connection: Connection, account_pk: int, submission_id: UUID, *, is_lost: bool) -> int:
    """A paid POST got no answer of the API's own; returns how many in a row. It may open the breaker.

    `is_lost`: it may have been charged. One that left before the breaker was last closed tells of the outage before,
    and counts for nothing.
    """
    left_at = func.coalesce(submissions.c.sent_at, submissions.c.created_at)  # what asked for an offer is not `sent`
    sent_at = select(left_at).where(submissions.c.id == submission_id).scalar_subquery()
    is_news = or_(accounts.c.breaker_closed_at.is_(None), sent_at > accounts.c.breaker_closed_at)
    longest = LONGEST_REST_SECONDS if is_lost else LONGEST_PROBE_SECONDS
    return _count(connection, account_pk, accounts.c.breaker_failures, longest, is_news)


def note_poll_failure(connection: Connection, account_pk: int) -> int:
    """A poll got no answer of the API's own; returns how many in a row. It may open the breaker, for free."""
    return _count(connection, account_pk, accounts.c.breaker_poll_failures, LONGEST_PROBE_SECONDS)


def note_success(connection: Connection, account_pk: int) -> None:
    """The API itself answered a paid POST: the run of failures is over, and so is the outage."""
    if _end_run(connection, account_pk, accounts.c.breaker_failures):
        close(connection, account_pk)


def note_poll_success(connection: Connection, account_pk: int) -> None:
    """The API itself answered a poll: as good as a probe, once one is due. Of paid POSTs that fail it says nothing."""
    has_trouble = or_(accounts.c.breaker_poll_failures > 0, accounts.c.breaker_opened_at.is_not(None))
    if connection.execute(select(accounts.c.pk).where(accounts.c.pk == account_pk, has_trouble)).first() is None:
        return
    _end_run(connection, account_pk, accounts.c.breaker_poll_failures)
    if take_probe(connection, account_pk):
        close(connection, account_pk)


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


def _count(
    connection: Connection,
    account_pk: int,
    run: ColumnElement[int],
    longest_seconds: float,
    *conditions: ColumnElement[bool],
) -> int:
    """Count a failure unless the breaker is open; 0 where it counts for nothing. `longest_seconds` until a probe."""
    counted: Any = connection.execute(
        update(accounts)
        .where(accounts.c.pk == account_pk, accounts.c.breaker_opened_at.is_(None), *conditions)
        .values({run: run + 1})
        .returning(run)
    ).scalar_one_or_none()
    if counted is not None and counted >= FAILURES_TO_OPEN:
        first = min(FIRST_PROBE_SECONDS * 2.0 ** min(counted - FAILURES_TO_OPEN, 20), longest_seconds)
        connection.execute(
            update(accounts)
            .where(accounts.c.pk == account_pk)
            .values(breaker_opened_at=NOW, breaker_probe_at=in_seconds(first))
        )
    return counted or 0


def _end_run(connection: Connection, account_pk: int, run: ColumnElement[int]) -> bool:
    return bool(
        connection.execute(update(accounts).where(accounts.c.pk == account_pk, run > 0).values({run: 0})).rowcount
    )
