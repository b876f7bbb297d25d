"""How an account's pace follows the provider's answers, for all its workers at once.

A row of `pace` is a limit that was met: a model's, or (under the model "") the account's. It goes when it is outgrown,
so that no row means no limit but the setting's. Rows are changed under the account's lock only.
"""

from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, case, delete, exists, func, null, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert

from orchestrator.store.accounts import lock_account
from orchestrator.store.database import NOW
from orchestrator.store.sending import in_seconds
from orchestrator.store.tables import paces, submissions

#: The "model" of the limits that an account has with all its models together.
WHOLE_ACCOUNT = ""
#: A provider that says "try again at once" each time must not be asked in a tight loop.
SHORTEST_PAUSE_SECONDS = 0.2
#: Where the provider does not say how long to wait, pauses double up to this.
LONGEST_PAUSE_SECONDS = 60.0
#: The rate achieved is that of the last so many seconds.
_RATE_SECONDS = 10.0
#: A rate never falls below this many POSTs a second, and each accepted one raises it by this factor.
_LOWEST_RATE = 0.1
_RATE_GROWTH = 1.02

#: The accepted POSTs of the last seconds, found by their reserves, and how long ago the first of them was.
_ACHIEVED = text(
    """
    SELECT count(DISTINCT submission.id) AS posts,
           extract(epoch FROM orchestrator_now() - min(submission.accepted_at)) AS seconds
    FROM ledger JOIN submission ON submission.id = ledger.submission_id JOIN job ON job.pk = ledger.job_pk
    WHERE ledger.account_pk = :account AND ledger.at > orchestrator_now() - make_interval(secs => :seconds)
      AND ledger.kind = 'reserve' AND submission.accepted_at IS NOT NULL AND (job.model = :model OR :model = '')
    """
)


def account_waits(account: ColumnElement[int]) -> ColumnElement[bool]:
    """Whether the provider keeps the account of a row waiting, with its polls too."""
    return exists().where(paces.c.account_pk == account, paces.c.model == WHOLE_ACCOUNT, paces.c.paused_until > NOW)


def slow_down(
    connection: Connection,
    account_pk: int,
    model: str,
    *,
    retry_after_seconds: float | None,
    max_in_flight: int,
    submission_id: UUID | None = None,
) -> None:
    """The provider asks for less: half the window and half the rate, after a pause as long as it wants, or of 2, 4,
    8 ... 60 s. Where another model is paused already, the whole account is.

    `submission_id` is the POST that it refused: those that left before the pause was over are one burst and count once.
    """
    lock_account(connection, account_pk)
    throttled = [model]
    if model != WHOLE_ACCOUNT and _is_another_paused(connection, account_pk, model):
        throttled.append(WHOLE_ACCOUNT)
    for name in throttled:
        _ensure_limit(connection, account_pk, name, room=max_in_flight)
        _throttle(connection, account_pk, name, retry_after_seconds, submission_id)


def speed_up(connection: Connection, account_pk: int, model: str, *, posts: int = 1, max_in_flight: int) -> None:
    """So many POSTs were accepted: with each a window grows by about one a window of them (twofold after an outage), a
    rate by 2 %.

    What comes in during a pause left before it, and is no reason to grow.
    """
    grows = (
        (paces.c.account_pk == account_pk)
        & paces.c.model.in_([model, WHOLE_ACCOUNT])
        & or_(paces.c.paused_until.is_(None), paces.c.paused_until <= NOW)
    )
    if connection.execute(select(paces.c.model).where(grows)).first() is None:
        return
    lock_account(connection, account_pk)
    rate = paces.c.rate * _RATE_GROWTH
    grown = {
        "room": case((paces.c.recovering, paces.c.room * 2), else_=paces.c.room + 1 / paces.c.room),
        "rate": case((rate < max_in_flight, rate), else_=null()),
        "throttles": 0,
    }
    for _ in range(posts):
        connection.execute(update(paces).where(grows).values(grown))
    connection.execute(delete(paces).where(grows, paces.c.room >= max_in_flight, paces.c.rate.is_(None)))


def restart_carefully(connection: Connection, account_pk: int) -> None:
    """After an outage: one POST under way, then two, four ..., until nothing limits the account any more."""
    lock_account(connection, account_pk)
    _ensure_limit(connection, account_pk, WHOLE_ACCOUNT, room=1)
    connection.execute(update(paces).where(_is(account_pk, WHOLE_ACCOUNT)).values(room=1, recovering=True))


def _is(account_pk: int, model: str) -> ColumnElement[bool]:
    return (paces.c.account_pk == account_pk) & (paces.c.model == model)


def _is_another_paused(connection: Connection, account_pk: int, model: str) -> bool:
    others = select(paces.c.model).where(
        paces.c.account_pk == account_pk, paces.c.model.not_in([model, WHOLE_ACCOUNT]), paces.c.paused_until > NOW
    )
    return connection.execute(others).first() is not None


def _ensure_limit(connection: Connection, account_pk: int, model: str, *, room: float) -> None:
    values = {"account_pk": account_pk, "model": model, "room": room, "tokens": 1.0, "filled_at": NOW, "throttles": 0}
    connection.execute(upsert(paces).values(values).on_conflict_do_nothing())


def _throttle(
    connection: Connection, account_pk: int, model: str, retry_after_seconds: float | None, submission_id: UUID | None
) -> None:
    left_at = select(submissions.c.sent_at).where(submissions.c.id == submission_id).scalar_subquery()
    is_same_burst = func.coalesce(paces.c.paused_until > func.coalesce(left_at, NOW), False).label("is_same_burst")
    row = connection.execute(select(paces, is_same_burst).where(_is(account_pk, model))).one()
    values: dict[str, Any] = {}
    throttles = row.throttles
    if not row.is_same_burst:
        throttles += 1
        rate = _lowered(row.rate, _achieved_rate(connection, account_pk, model))
        values = {"throttles": throttles, "room": max(row.room / 2, 1.0), "rate": rate, "tokens": 1.0, "filled_at": NOW}
    elif retry_after_seconds is None:
        return
    backed_off = min(2.0 ** min(throttles, 10), LONGEST_PAUSE_SECONDS)
    seconds = backed_off if retry_after_seconds is None else max(retry_after_seconds, SHORTEST_PAUSE_SECONDS)
    values["paused_until"] = func.greatest(paces.c.paused_until, in_seconds(seconds))
    connection.execute(update(paces).where(_is(account_pk, model)).values(values))


def _achieved_rate(connection: Connection, account_pk: int, model: str) -> float | None:
    """Accepted POSTs a second, just now; None where there was none."""
    posts, seconds = connection.execute(
        _ACHIEVED, {"account": account_pk, "model": model, "seconds": _RATE_SECONDS}
    ).one()
    return posts / max(float(seconds), 1.0) if posts else None


def _lowered(rate: float | None, achieved: float | None) -> float | None:
    known = [found for found in (rate, achieved) if found is not None]
    return max(min(known) / 2, _LOWEST_RATE) if known else None
