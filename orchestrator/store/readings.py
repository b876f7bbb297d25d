"""Readings of an account's balance: what the provider told, and whether nothing of ours can have moved it meanwhile.

A reading is quiet when nothing of ours was open at the provider from before it was asked for until it was stored:
`begin` before the question, `keep` after the answer, both under the account's lock, under which work is claimed.
"""

from datetime import datetime
from decimal import Decimal

from sqlalchemy import ColumnElement, Connection, and_, exists, func, insert, or_, select

from orchestrator.base.states import IN_FLIGHT_JOBS, JobState, SubmissionState
from orchestrator.store.accounts import Scope, lock_account
from orchestrator.store.database import NOW
from orchestrator.store.holds import may_send
from orchestrator.store.tables import batches, jobs, ledger, readings, submissions


def begin(connection: Connection, account_pk: int) -> datetime | None:
    """Call it, and commit, before the balance is asked for. The start of the quiet; None: something of ours is open."""
    lock_account(connection, account_pk)
    if connection.execute(select(is_open(account_pk))).scalar_one():
        return None
    started_at: datetime = connection.execute(select(NOW)).scalar_one()
    return started_at


def keep(connection: Connection, account_pk: int, credit_amount: Decimal, quiet_since: datetime | None) -> bool:
    """Store what the provider told. Returns whether nothing of ours moved since `quiet_since`, which `begin` gave.

    A quiet reading is as old as its question: one that is stored late, or twice, is no newer and no second witness.
    """
    lock_account(connection, account_pk)
    is_quiet = quiet_since is not None and not _moved(connection, account_pk, quiet_since)
    at = quiet_since if is_quiet else NOW
    values = {"account_pk": account_pk, "at": at, "credits": credit_amount, "quiet": is_quiet}
    connection.execute(insert(readings).values(values))
    return is_quiet


def _moved(connection: Connection, account_pk: int, since: datetime) -> bool:
    entered = exists().where(ledger.c.account_pk == account_pk, ledger.c.at >= since)
    return bool(connection.execute(select(or_(is_open(account_pk), entered))).scalar_one())


def wants_baseline(connection: Connection, scope: Scope) -> bool:
    """Whether a claim would be the first after a quiet time in which the balance was not read yet."""
    ours = readings.c.account_pk == scope.account_pk
    latest = select(func.max(readings.c.at)).where(ours, readings.c.quiet).scalar_subquery()
    moved_since = exists().where(ledger.c.account_pk == scope.account_pk, ledger.c.at >= latest)
    in_doubt = exists().where(
        submissions.c.account_pk == scope.account_pk, submissions.c.state == SubmissionState.UNKNOWN
    )
    due = exists().where(
        scope.covers(batches.c.account_pk, batches.c.id),
        may_send(),
        jobs.c.batch_id == batches.c.id,
        jobs.c.state == JobState.PENDING,
        jobs.c.due_at <= NOW,
    )
    wanted = and_(~is_open(scope.account_pk), ~in_doubt, or_(latest.is_(None), moved_since), due)
    return bool(connection.execute(select(wanted)).scalar_one())


def is_open(account_pk: int) -> ColumnElement[bool]:
    """Whether something of the account's is at the provider, or on its way there."""
    return exists().where(jobs.c.account_pk == account_pk, jobs.c.state.in_(IN_FLIGHT_JOBS))
