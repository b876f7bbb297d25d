"""The outbox: what people are to be told of, written in the transaction that makes it so.

None is lost or made up, and whoever is told holds up nothing: sending is done by others, from these rows. The occasion
of a notice keeps it single.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from sqlalchemy import Connection, func, select
from sqlalchemy.dialects.postgresql import insert as upsert

from orchestrator.base.clock import rfc3339
from orchestrator.base.money import ZERO
from orchestrator.base.notices import USUAL_EVENTS, NoticeEvent, NoticeStyle
from orchestrator.base.states import JobState
from orchestrator.store.amounts import batch_amounts
from orchestrator.store.database import NOW
from orchestrator.store.tables import batches, jobs, notifications, schedule_runs, schedules


def note(connection: Connection, batch_id: str, event: NoticeEvent, occasion: str, facts: Mapping[str, Any]) -> None:
    """Tell everyone whom the batch's manifest names for `event`, once for each `occasion`."""
    batch = connection.execute(
        select(batches.c.account_pk, batches.c.name, batches.c.sandbox, batches.c.notify).where(
            batches.c.id == batch_id
        )
    ).one()
    told = {"batch": batch_id, "name": batch.name, "sandbox": batch.sandbox, **facts}
    for style, url in _named_for(event, batch.notify):
        _write(connection, batch.account_pk, batch_id, (style, url), event, occasion, told)


def note_finished(connection: Connection, batch_id: str) -> None:
    """The batch has ended, just now."""
    batch = connection.execute(select(batches).where(batches.c.id == batch_id)).one()
    rows = connection.execute(
        select(jobs.c.state, func.count().label("n"), func.coalesce(func.sum(jobs.c.spent), 0).label("spent"))
        .where(jobs.c.batch_id == batch_id)
        .group_by(jobs.c.state)
    ).all()
    counts = {row.state: row.n for row in rows}
    facts = {
        "state": batch.state,
        "jobs": {"total": sum(counts.values())} | {state.value: counts.get(state, 0) for state in JobState},
        **batch_amounts(batch, spent=sum((row.spent for row in rows), ZERO)),
        "created_at": rfc3339(batch.created_at),
        "finished_at": rfc3339(batch.finished_at),
    }
    note(connection, batch_id, NoticeEvent.FINISHED, f"finished:{batch_id}:{batch.finished_at.isoformat()}", facts)


def note_schedule_failed(connection: Connection, schedule_pk: int, slot: datetime, message: str) -> None:
    """A slot gave no batch. Told to whom the last batch of the schedule names: the manifest may be what is broken."""
    schedule = connection.execute(select(schedules).where(schedules.c.pk == schedule_pk)).one()
    last = connection.execute(
        select(batches.c.notify)
        .join(schedule_runs, schedule_runs.c.batch_id == batches.c.id)
        .where(schedule_runs.c.schedule_pk == schedule_pk)
        .order_by(schedule_runs.c.slot.desc())
        .limit(1)
    ).scalar_one_or_none()
    event, occasion = NoticeEvent.SCHEDULE_FAILED, _slot_occasion("schedule-failed", schedule_pk, slot)
    facts = {"schedule": schedule.name, "slot": rfc3339(slot), "message": message}
    for style, url in _named_for(event, last or []):
        _write(connection, schedule.account_pk, None, (style, url), event, occasion, facts)


def heartbeat(connection: Connection, schedule_pk: int, slot: datetime) -> None:
    """A run of the schedule is over: let its heartbeat URL know, where it has one."""
    schedule = connection.execute(select(schedules).where(schedules.c.pk == schedule_pk)).one()
    if schedule.heartbeat is not None:
        to, occasion = (NoticeStyle.HEARTBEAT, schedule.heartbeat), _slot_occasion("heartbeat", schedule_pk, slot)
        _write(connection, schedule.account_pk, None, to, "heartbeat", occasion, {})


def _slot_occasion(what: str, schedule_pk: int, slot: datetime) -> str:
    return f"{what}:{schedule_pk}:{rfc3339(slot)}"


def _named_for(event: NoticeEvent, notify: list[dict[str, Any]]) -> Iterator[tuple[NoticeStyle, str]]:
    """The style and URL of each entry of a manifest's `notify` that wants to hear of `event`."""
    for entry in notify:
        if event in (entry.get("on") or USUAL_EVENTS):
            for style in (NoticeStyle.WEBHOOK, NoticeStyle.SLACK):
                if style in entry:
                    yield style, entry[style]


def _write(
    connection: Connection,
    account_pk: int,
    batch_id: str | None,
    to: tuple[NoticeStyle, str],
    event: str,
    occasion: str,
    facts: Mapping[str, Any],
) -> None:
    style, url = to
    connection.execute(
        upsert(notifications)
        .values(
            id=uuid5(NAMESPACE_URL, f"{occasion} {url}"),
            account_pk=account_pk,
            batch_id=batch_id,
            url=url,
            style=style,
            event=event,
            occasion=occasion,
            body=dict(facts),
            created_at=NOW,
            due_at=NOW,
        )
        .on_conflict_do_nothing()
    )
