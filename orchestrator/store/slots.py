"""Slots of schedules: whoever writes the row of a slot runs it, and no two run the same schedule at a time.

Who runs a schedule holds an advisory lock on a connection of its own, which ends with the process. What it had begun
is then taken up again: the key of its submission makes it one batch, however often that happens.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from statistics import median
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, and_, exists, insert, or_, select, update

from orchestrator.base.cron import slots_after
from orchestrator.store import outbox
from orchestrator.store.advisory_locks import held_in, session_lock
from orchestrator.store.batches import batch_of_key
from orchestrator.store.database import NOW, Database
from orchestrator.store.schedules import PUNCTUAL, Schedule, schedule_of
from orchestrator.store.tables import schedule_runs, schedules, submissions

#: First key of the advisory locks of those who run a schedule; the second is the schedule's row.
_LOCK_SPACE = 7_215_003
#: The keys under which slots submit their batches begin with it.
SLOT_KEYS = "schedule/"
#: What is usual follows from the last runs that bought something, and from no fewer than some.
USUAL_OF, USUAL_FROM = 7, 3

_TAKEN = held_in(_LOCK_SPACE, "taken")


@dataclass(frozen=True, slots=True)
class Run:
    """A slot that is ours to run. `remark`: that it is late, and what was missed; `age_seconds`: since it was begun."""

    schedule: Schedule
    slot: datetime
    age_seconds: float
    remark: str | None

    @property
    def submit_key(self) -> str:
        """Under which its batch is submitted."""
        return f"{SLOT_KEYS}{self.schedule.spec.name}/{self.slot.isoformat()}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended. `new_credits`: the estimate of what its batch buys."""

    state: Literal["submitted", "skipped", "failed"]
    message: str | None = None
    batch_id: str | None = None
    new_credits: Decimal | None = None


@contextmanager
def turn(database: Database, schedule_pk: int) -> Iterator[bool]:
    """Whether it is our turn to run a schedule; while it is, it is nobody else's. Raises OutOfReach."""
    with session_lock(database, _LOCK_SPACE, schedule_pk) as holder:
        yield holder is not None


def due(connection: Connection, account_pk: int) -> list[int]:
    """The account's schedules with a slot to begin or to take up again, which nobody runs just now; oldest first."""
    found = (
        select(schedules.c.pk)
        .where(
            schedules.c.account_pk == account_pk,
            ~schedules.c.paused,
            or_(schedules.c.next_at <= NOW, _has_unfinished()),
            schedules.c.pk.not_in(select(_TAKEN)),
        )
        .order_by(schedules.c.next_at)
    )
    return [int(pk) for pk in connection.execute(found).scalars()]


def _has_unfinished() -> ColumnElement[bool]:
    return exists().where(schedule_runs.c.schedule_pk == schedules.c.pk, schedule_runs.c.state == "started")


def take_up(connection: Connection, schedule_pk: int) -> Run | None:
    """The slot to run now, or None: the newest that has passed, or else one that was begun and not ended.

    Of several that were missed only the newest runs. One that was begun makes way for it, unless it has a batch.
    """
    row = connection.execute(select(schedules).where(schedules.c.pk == schedule_pk).with_for_update()).one_or_none()
    if row is None or row.paused:
        return None
    schedule = schedule_of(row)
    now = connection.execute(select(NOW)).scalar_one()
    begun = _unfinished(connection, schedule, now)
    if schedule.next_at > now or (begun is not None and _has_batch(connection, begun)):
        return begun
    if begun is not None:
        finish(connection, begun, Outcome("skipped", "it was broken off, and the next slot has come"))
    return _begin_newest(connection, schedule, now)


def _unfinished(connection: Connection, schedule: Schedule, now: datetime) -> Run | None:
    started = (schedule_runs.c.schedule_pk == schedule.pk, schedule_runs.c.state == "started")
    row = connection.execute(
        select(schedule_runs).where(*started).order_by(schedule_runs.c.slot).limit(1)
    ).one_or_none()
    return None if row is None else Run(schedule, row.slot, (now - row.started_at).total_seconds(), row.message)


def _has_batch(connection: Connection, run: Run) -> bool:
    return batch_of_key(connection, run.schedule.account_pk, run.submit_key) is not None


def _begin_newest(connection: Connection, schedule: Schedule, now: datetime) -> Run | None:
    """Begin the newest slot that has passed, and set the next one; None where someone has begun it before."""
    slot, earlier = schedule.next_at, 0
    for next_at in slots_after(schedule.spec.cron, schedule.spec.tz, slot):
        if next_at > now:
            break
        slot, earlier = next_at, earlier + 1
    connection.execute(update(schedules).where(schedules.c.pk == schedule.pk).values(next_at=next_at))
    if connection.execute(select(_is_run(schedule, slot))).scalar_one():
        return None
    return begin(connection, schedule, slot, _remark(now - slot, earlier))


def _is_run(schedule: Schedule, slot: datetime) -> ColumnElement[bool]:
    return exists().where(schedule_runs.c.schedule_pk == schedule.pk, schedule_runs.c.slot == slot)


def begin(connection: Connection, schedule: Schedule, slot: datetime, remark: str | None = None) -> Run:
    """Write the row of a slot: from here on it is run until it ended. Raises IntegrityError where it was begun."""
    row = {"schedule_pk": schedule.pk, "slot": slot, "state": "started", "started_at": NOW, "message": remark}
    connection.execute(insert(schedule_runs).values(row))
    return Run(schedule, slot, 0.0, remark)


def _remark(late: timedelta, earlier: int) -> str | None:
    parts = [f"begun {_duration(late)} late"] if late > PUNCTUAL else []
    if earlier:
        parts.append(f"{earlier} slot{'s' if earlier > 1 else ''} before it passed unrun")
    return ", ".join(parts) or None


def _duration(time: timedelta) -> str:
    hours, minutes = divmod(int(time.total_seconds()) // 60, 60)
    days, hours = divmod(hours, 24)
    parts = [f"{number} {unit}" for number, unit in ((days, "d"), (hours, "h"), (minutes, "min")) if number]
    return " ".join(parts[:2])


def run_by_hand(connection: Connection, schedule: Schedule) -> Run:
    """A run of now that a person wants; nothing is written yet."""
    return Run(schedule, connection.execute(select(NOW)).scalar_one(), 0.0, "run by hand")


def record(connection: Connection, run: Run, outcome: Outcome) -> None:
    """Write down a run that is over already."""
    begin(connection, run.schedule, run.slot, run.remark)
    finish(connection, run, outcome)


def finish(connection: Connection, run: Run, outcome: Outcome) -> None:
    """Write down how a run ended, and tell: its heartbeat of a batch, whom the last one names of none. Repeatable.

    Nothing happens where it has ended before, or its schedule was removed.
    """
    message = "; ".join(filter(None, (outcome.message, run.remark))) or None
    ended = connection.execute(
        update(schedule_runs)
        .where(
            schedule_runs.c.schedule_pk == run.schedule.pk,
            schedule_runs.c.slot == run.slot,
            schedule_runs.c.state == "started",
        )
        .values(
            state=outcome.state,
            ended_at=NOW,
            batch_id=outcome.batch_id,
            new_credits=outcome.new_credits,
            message=message,
        )
    ).rowcount
    if ended and outcome.state == "submitted":
        outbox.heartbeat(connection, run.schedule.pk, run.slot)
    elif ended:
        outbox.note_schedule_failed(connection, run.schedule.pk, run.slot, message or outcome.state)


def usual_credits(connection: Connection, schedule: Schedule) -> Decimal | None:
    """The median of what the last runs bought, or None where too few bought anything."""
    sent = exists().where(submissions.c.batch_id == schedule_runs.c.batch_id)
    bought = and_(schedule_runs.c.schedule_pk == schedule.pk, schedule_runs.c.new_credits > 0, sent)
    newest = select(schedule_runs.c.new_credits).where(bought).order_by(schedule_runs.c.slot.desc()).limit(USUAL_OF)
    amounts: list[Any] = list(connection.execute(newest).scalars())
    return Decimal(median(amounts)) if len(amounts) >= USUAL_FROM else None
