"""Holds: why a batch cannot go on by itself, said once, with the command that helps."""

from sqlalchemy import ColumnElement, Connection, and_, delete, exists
from sqlalchemy.dialects.postgresql import insert as upsert

from orchestrator.base.states import BLOCKING_HOLDS, BatchState, HoldCode
from orchestrator.store.database import NOW
from orchestrator.store.tables import batches, holds


def put_hold(connection: Connection, batch_id: str, code: HoldCode, message: str, command: str) -> None:
    """Put a batch on hold for `code`; the first time stays its `since`, the newest words stay its message."""
    row = {"batch_id": batch_id, "code": code, "since": NOW, "message": message, "command": command}
    connection.execute(
        upsert(holds)
        .values(row)
        .on_conflict_do_update(index_elements=["batch_id", "code"], set_={"message": message, "command": command})
    )


def lift_holds(connection: Connection, batch_id: str, codes: tuple[HoldCode, ...]) -> int:
    """Take away the named holds of a batch and return how many there were."""
    return connection.execute(delete(holds).where(holds.c.batch_id == batch_id, holds.c.code.in_(codes))).rowcount


def may_send() -> ColumnElement[bool]:
    """Whether a batch may send something new."""
    blocked = exists().where(holds.c.batch_id == batches.c.id, holds.c.code.in_(BLOCKING_HOLDS))
    return and_(batches.c.state == BatchState.RUNNING, ~blocked)
