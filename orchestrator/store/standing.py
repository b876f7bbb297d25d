"""Why the jobs of a batch are where they are: the oldest one in each state, and all that may be in its way."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, case, func, literal, or_, select

from orchestrator.base.states import ACTIVE_JOBS, ENDED_JOBS, BatchState, Gate, HoldCode, JobState, WaitsFor
from orchestrator.store.database import NOW
from orchestrator.store.doubts import outlook
from orchestrator.store.leases import count_alive, count_senders, is_dead
from orchestrator.store.money_holds import told_holds
from orchestrator.store.room import Room
from orchestrator.store.silence import is_awaited
from orchestrator.store.tables import accounts, batches, job_needs, jobs, paces, submissions
from orchestrator.store.unstored import has_fetched_file

_MOVABLE = (*ACTIVE_JOBS, JobState.IN_DOUBT)


@dataclass(frozen=True, slots=True)
class Oldest:
    """Of the `count` jobs in a state, and of waiting ones for the same thing, the one that has been there longest."""

    state: JobState
    waits_for: WaitsFor | None
    count: int
    job: str
    model: str
    #: When its request was sent; for what was never sent, when its batch was made.
    since: datetime
    #: Its next try, poll or copy; None where none is planned.
    due_at: datetime | None = None
    #: Whether a worker is at it: True, or False where that worker is gone. None: nobody is.
    worker_lives: bool | None = None
    #: What the last try met.
    trouble: str | None = None
    #: How often in a row its files were not stored, and whether all that is missing is that the destination takes them.
    copy_failures: int = 0
    is_fetched: bool = False
    #: The provider says since then that there is no such request, or nothing to fetch.
    not_found_since: datetime | None = None
    #: Whether it carries a signed payment that is still sent again, or looked up on its chain.
    is_awaited: bool = False
    #: Jobs that it needs and that are not completed, or not looked at: name and state.
    needs: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class HoldRow:
    """A hold, as it is told."""

    code: HoldCode
    message: str
    command: str
    blocking: bool


@dataclass(frozen=True, slots=True)
class Standing:
    """All that decides what the jobs of a batch wait for. `now` is the database's."""

    now: datetime
    batch_id: str
    state: BatchState
    sandbox: bool
    is_cancelled: bool
    holds: tuple[HoldRow, ...]
    workers: int
    #: Those of them that have the account's keys.
    senders: int
    breaker_opened_at: datetime | None
    breaker_probe_at: datetime | None
    #: Until when a model (or "": all of them) is paused.
    paused_until: Mapping[str, datetime]
    #: Seconds until a job of each model of `oldest` may be sent; None while all places are taken.
    wait_seconds: Mapping[str, float | None]
    #: When the doubts of the batch may be settled by themselves.
    doubt_outlook: str | None
    oldest: tuple[Oldest, ...]


def read_standing(connection: Connection, batch_id: str, *, max_in_flight: int) -> Standing:
    """What is known of an existing batch; `max_in_flight` is the setting. It reads all of its jobs: ask seldom."""
    batch = connection.execute(select(batches).where(batches.c.id == batch_id)).one()
    account = connection.execute(select(accounts).where(accounts.c.pk == batch.account_pk)).one()
    found = _oldest(connection, batch)
    room = Room(connection, batch.account_pk, max_in_flight=max_in_flight)
    on_hold = told_holds(connection, batch_id)
    paused = connection.execute(
        select(paces.c.model, paces.c.paused_until).where(
            paces.c.account_pk == batch.account_pk, paces.c.paused_until > NOW
        )
    )
    told = outlook(connection, batch_id)
    return Standing(
        now=connection.execute(select(NOW)).scalar_one(),
        batch_id=batch_id,
        state=BatchState(batch.state),
        sandbox=batch.sandbox,
        is_cancelled=batch.cancelled_at is not None,
        holds=tuple(HoldRow(hold.code, hold.message, hold.command, hold.blocking) for hold in on_hold),
        workers=count_alive(connection),
        senders=count_senders(connection, batch.account_pk),
        breaker_opened_at=account.breaker_opened_at,
        breaker_probe_at=account.breaker_probe_at,
        paused_until={row.model: row.paused_until for row in paused},
        wait_seconds={each.model: room.wait_seconds(each.model) for each in found},
        doubt_outlook=None if told is None else told.words,
        oldest=tuple(found),
    )


def _oldest(connection: Connection, batch: Any) -> list[Oldest]:
    counts = connection.execute(
        select(jobs.c.state, jobs.c.waits_for, func.count().label("n"))
        .where(jobs.c.batch_id == batch.id, jobs.c.state.in_(_MOVABLE))
        .group_by(jobs.c.state, jobs.c.waits_for)
    ).all()
    found = [_oldest_of(connection, batch, row) for row in counts]
    order = list(JobState)
    return sorted((each for each in found if each is not None), key=lambda each: (order.index(each.state), each.job))


def _oldest_of(connection: Connection, batch: Any, group: Any) -> Oldest | None:
    at_provider = group.state in (JobState.SUBMITTING, JobState.GENERATING)
    leased = submissions if at_provider else jobs
    sent_at = func.coalesce(submissions.c.accepted_at, submissions.c.sent_at, submissions.c.created_at)
    row = connection.execute(
        select(
            jobs.c.pk,
            jobs.c.name,
            jobs.c.model,
            jobs.c.copy_error,
            jobs.c.copy_failures,
            has_fetched_file().label("is_fetched"),
            sent_at.label("sent_at"),
            (submissions.c.due_at if at_provider else jobs.c.due_at).label("due_at"),
            case((leased.c.lease_token.is_not(None), ~is_dead(leased))).label("worker_lives"),
            submissions.c.poll_failures,
            submissions.c.not_found_since,
            func.coalesce(submissions.c.answer["reason"].astext, submissions.c.answer["poll"].astext).label("reason"),
            (is_awaited(jobs.c.submission_id) if group.state == JobState.IN_DOUBT else literal(False)).label("awaited"),
        )
        .outerjoin(submissions, submissions.c.id == jobs.c.submission_id)
        .where(
            jobs.c.batch_id == batch.id,
            jobs.c.state == group.state,
            jobs.c.waits_for.is_not_distinct_from(group.waits_for),
        )
        .order_by(*([jobs.c.due_at] if group.state == JobState.PENDING else [sent_at]), jobs.c.ordinal)
        .limit(1)
    ).one_or_none()
    if row is None:  # it has just moved on
        return None
    is_sent = group.state not in (JobState.WAITING, JobState.PENDING)
    has_trouble = group.state == JobState.PENDING or (group.state == JobState.GENERATING and row.poll_failures)
    return Oldest(
        state=JobState(group.state),
        waits_for=None if group.waits_for is None else WaitsFor(group.waits_for),
        count=group.n,
        job=row.name,
        model=row.model,
        since=row.sent_at if is_sent and row.sent_at is not None else batch.created_at,
        due_at=row.due_at,
        worker_lives=row.worker_lives,
        trouble=row.copy_error if group.state == JobState.COPYING else row.reason if has_trouble else None,
        copy_failures=row.copy_failures if group.state == JobState.COPYING else 0,
        is_fetched=row.is_fetched,
        not_found_since=row.not_found_since if group.state == JobState.GENERATING else None,
        is_awaited=row.awaited,
        needs=_needs(connection, row.pk) if group.state == JobState.WAITING else (),
    )


def _needs(connection: Connection, job_pk: int) -> tuple[tuple[str, str], ...]:
    """What stands before a job, in the manifest's order: a few of them."""
    needed = connection.execute(
        select(jobs.c.name, jobs.c.state)
        .join(job_needs, job_needs.c.needed_pk == jobs.c.pk)
        .where(
            job_needs.c.job_pk == job_pk,
            or_(jobs.c.state.not_in(ENDED_JOBS), and_(jobs.c.state == JobState.COMPLETED, jobs.c.gate == Gate.MANUAL)),
        )
        .distinct()
        .order_by(jobs.c.name)
        .limit(3)
    )
    return tuple((row.name, row.state) for row in needed)
