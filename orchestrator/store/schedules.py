"""Schedules: which manifest is submitted at which slots. Who runs a slot is decided in `slots`."""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, delete, func, select, update
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.dialects.postgresql import insert as upsert

from orchestrator.base.clock import rfc3339
from orchestrator.base.cron import slots_after
from orchestrator.base.errors import UsageError
from orchestrator.base.money import optional_canonical
from orchestrator.store.database import NOW
from orchestrator.store.tables import batches, schedule_runs, schedules

#: A slot that is run later than this is late.
PUNCTUAL = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class Spec:
    """What a schedule is to be. `manifest` is an absolute path or a URI; `heartbeat` a URL that may be secret."""

    name: str
    manifest: str
    cron: str
    tz: str
    heartbeat: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Schedule:
    """A schedule as it is stored; `next_at` is the first slot that was not begun."""

    pk: int
    account_pk: int
    spec: Spec
    paused: bool
    next_at: datetime


def active_by_account(connection: Connection) -> dict[int, int]:
    """How many schedules of which account are not paused."""
    counted = select(schedules.c.account_pk, func.count().label("number")).where(~schedules.c.paused)
    return {row.account_pk: row.number for row in connection.execute(counted.group_by(schedules.c.account_pk))}


def add(connection: Connection, account_pk: int, spec: Spec) -> bool:
    """Store a schedule, due at its first slot from now on; False where the account has one of that name."""
    values = _columns(spec) | {"account_pk": account_pk, "name": spec.name, "next_at": next_slot(connection, spec)}
    added = upsert(schedules).values(values | {"created_at": NOW}).on_conflict_do_nothing().returning(schedules.c.pk)
    return connection.execute(added).scalar_one_or_none() is not None


def change(connection: Connection, schedule: Schedule, spec: Spec, account_pk: int) -> bool:
    """Make a schedule what `spec` says, paid by this account; whether that changed anything. Other times are due from
    now on.
    """
    if (spec, account_pk) == (schedule.spec, schedule.account_pk):
        return False
    keeps_times = (spec.cron, spec.tz) == (schedule.spec.cron, schedule.spec.tz)
    next_at = schedule.next_at if keeps_times else next_slot(connection, spec)
    _set(connection, schedule, **_columns(spec), account_pk=account_pk, next_at=next_at)
    return True


def _columns(spec: Spec) -> dict[str, Any]:
    return {"manifest": spec.manifest, "cron": spec.cron, "tz": spec.tz, "heartbeat": spec.heartbeat}


def next_slot(connection: Connection, spec: Spec) -> datetime:
    """The first slot from now on."""
    return next(slots_after(spec.cron, spec.tz, connection.execute(select(NOW)).scalar_one()))


def pause(connection: Connection, schedule: Schedule) -> None:
    """Begin no slot until it goes on."""
    _set(connection, schedule, paused=True)


def go_on(connection: Connection, schedule: Schedule) -> None:
    """Run the slots from now on; those that passed while it was paused were not wanted."""
    if schedule.paused:
        _set(connection, schedule, paused=False, next_at=next_slot(connection, schedule.spec))


def _set(connection: Connection, schedule: Schedule, **values: Any) -> None:
    connection.execute(update(schedules).where(schedules.c.pk == schedule.pk).values(**values))


def remove(connection: Connection, schedule: Schedule) -> None:
    """Forget a schedule and its runs; their batches stay as they are."""
    connection.execute(delete(schedules).where(schedules.c.pk == schedule.pk))


def look_up(connection: Connection, account_pks: Collection[int], name: str) -> Schedule | None:
    """The schedule of a name that one of the accounts has, locked."""
    ours = (schedules.c.account_pk.in_(account_pks), schedules.c.name == name)
    first = select(schedules).where(*ours).order_by(schedules.c.pk).limit(1)
    row = connection.execute(first.with_for_update()).one_or_none()
    return None if row is None else schedule_of(row)


def find(connection: Connection, account_pks: Collection[int], name: str) -> Schedule:
    """As `look_up`. Raises UsageError where none has it."""
    schedule = look_up(connection, account_pks, name)
    if schedule is None:
        raise UsageError(f"there is no schedule {name!r}", hint="orchestrator schedule list shows them")
    return schedule


def schedule_of(row: Row[Any]) -> Schedule:
    """The schedule of a row."""
    spec = Spec(row.name, row.manifest, row.cron, row.tz, row.heartbeat)
    return Schedule(row.pk, row.account_pk, spec, row.paused, row.next_at)


def documents(connection: Connection, account_pks: Collection[int]) -> list[dict[str, Any]]:
    """The accounts' schedules for people and scripts, by name, each with its newest run.

    `overdue_seconds` is how long its next slot has been there with nobody to run it; None where it is not overdue.
    """
    last = (
        select(schedule_runs, batches.c.state.label("batch_state"))
        .join(batches, batches.c.id == schedule_runs.c.batch_id, isouter=True)
        .ext(distinct_on(schedule_runs.c.schedule_pk))
        .order_by(schedule_runs.c.schedule_pk, schedule_runs.c.started_at.desc(), schedule_runs.c.slot.desc())
    )
    runs = {row.schedule_pk: row for row in connection.execute(last)}
    ours = select(schedules).where(schedules.c.account_pk.in_(account_pks)).order_by(schedules.c.name)
    now = connection.execute(select(NOW)).scalar_one()
    return [_document(row, runs.get(row.pk), now) for row in connection.execute(ours)]


def _document(row: Row[Any], last: Row[Any] | None, now: datetime) -> dict[str, Any]:
    overdue = now - row.next_at
    return {
        "name": row.name,
        "manifest": row.manifest,
        "cron": row.cron,
        "tz": row.tz,
        "state": "paused" if row.paused else "active",
        "next_slot": None if row.paused else rfc3339(row.next_at),
        "overdue_seconds": None if row.paused or overdue < PUNCTUAL else int(overdue.total_seconds()),
        "last": None if last is None else _run_document(last),
        "created_at": rfc3339(row.created_at),
    }


def _run_document(run: Row[Any]) -> dict[str, Any]:
    return {
        "slot": rfc3339(run.slot),
        "state": run.state,
        "batch": run.batch_id,
        "batch_state": run.batch_state,
        "new_credits": optional_canonical(run.new_credits),
        "message": run.message,
        "started_at": rfc3339(run.started_at),
        "ended_at": rfc3339(run.ended_at),
    }
