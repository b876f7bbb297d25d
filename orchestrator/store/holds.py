"""Holds: why a batch cannot go on by itself, said once, with the command that helps."""

from sqlalchemy import ColumnElement, Connection, and_, delete, exists, select
from sqlalchemy.dialects.postgresql import insert as upsert

from orchestrator.base.clock import rfc3339
from orchestrator.base.notices import NoticeEvent
from orchestrator.base.states import BLOCKING_HOLDS, BatchState, HoldCode
from orchestrator.store import outbox
from orchestrator.store.database import NOW
from orchestrator.store.tables import batches, holds, jobs


def put_hold(
    connection: Connection, batch_id: str, code: HoldCode, message: str, command: str, *, blocking: bool | None = None
) -> None:
    """Put a batch on hold for `code`; the first time stays its `since`, the newest words stay its message.

    `blocking`: whether it sends nothing new meanwhile; what it is not said for goes by the code.
    """
    blocks = code in BLOCKING_HOLDS if blocking is None else blocking
    newest = {"message": message, "command": command, "blocking": blocks}
    since, is_new = connection.execute(
        upsert(holds)
        .values(newest | {"batch_id": batch_id, "code": code, "since": NOW})
        .on_conflict_do_update(index_elements=["batch_id", "code"], set_=newest)
        .returning(holds.c.since, holds.c.since == NOW)
    ).one()
    if is_new:
        facts = {"hold": {"code": code, "since": rfc3339(since), "message": message, "command": command}}
        occasion = f"held:{batch_id}:{code}:{since.isoformat()}"
        outbox.note(connection, batch_id, NoticeEvent.HELD, occasion, facts)


def says(connection: Connection, batch_id: str, reason: str) -> bool:
    """Whether a batch is on hold for this very reason: its words begin with it."""
    found = exists().where(holds.c.batch_id == batch_id, holds.c.message.startswith(reason, autoescape=True))
    return bool(connection.execute(select(found)).scalar_one())


def lift_holds(connection: Connection, batch_id: str, codes: tuple[HoldCode, ...]) -> int:
    """Take away the named holds of a batch and return how many there were."""
    return connection.execute(delete(holds).where(holds.c.batch_id == batch_id, holds.c.code.in_(codes))).rowcount


def may_send() -> ColumnElement[bool]:
    """Whether a batch may send something new."""
    return and_(is_wanted(), ~is_blocked())


def is_wanted() -> ColumnElement[bool]:
    """Whether nobody has paused or cancelled a batch."""
    return and_(batches.c.state == BatchState.RUNNING, batches.c.cancelled_at.is_(None))


def is_blocked() -> ColumnElement[bool]:
    """Whether a hold keeps a batch from sending something new."""
    return exists().where(holds.c.batch_id == batches.c.id, holds.c.blocking).correlate(batches)


def has_hold(*codes: HoldCode) -> ColumnElement[bool]:
    """Whether a batch has one of these holds."""
    return exists().where(holds.c.batch_id == batches.c.id, holds.c.code.in_(codes)).correlate(batches)


def has_job(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    """Whether a batch has a job for which `condition` holds."""
    return exists().where(jobs.c.batch_id == batches.c.id, condition).correlate(batches)
