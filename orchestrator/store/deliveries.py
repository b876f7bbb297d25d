"""Getting notices out of the outbox: what is due is leased for a while, tried, and written down.

A process that dies in between leaves a lease that ends by itself, and the notice goes out again under the same id.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, exists, func, null, or_, select, update

from orchestrator.base.notices import NoticeStyle, host_of
from orchestrator.store.database import NOW
from orchestrator.store.sending import in_seconds
from orchestrator.store.tables import batches, notifications

#: Longer than one try can take.
_LEASE_SECONDS = 30.0
#: After the first failure; it doubles with each.
_FIRST_WAIT_SECONDS = 5.0
_LONGEST_WAIT_SECONDS = 3600.0
#: So long after its event a notice is given up.
GIVE_UP_SECONDS = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class ClaimedNotice:
    """A notice to try now, for the `tries`-th time. `facts` are what it says."""

    id: UUID
    batch_id: str | None
    url: str
    style: NoticeStyle
    event: str
    facts: dict[str, Any]
    created_at: datetime
    tries: int
    age_seconds: float

    @property
    def wait_seconds(self) -> float:
        """How long to wait should this try fail."""
        return min(_FIRST_WAIT_SECONDS * 2.0 ** min(self.tries - 1, 20), _LONGEST_WAIT_SECONDS)

    @property
    def is_last_try(self) -> bool:
        """Whether another one would come too late."""
        return self.age_seconds + self.wait_seconds > GIVE_UP_SECONDS


def claim_notices(connection: Connection, account_pk: int, limit: int) -> list[ClaimedNotice]:
    """Lease up to `limit` due notices of an account, and of sandboxes, whose own account nobody works for again."""
    of_sandbox = exists().where(batches.c.id == notifications.c.batch_id, batches.c.sandbox)
    due = (
        select(notifications.c.id)
        .where(
            notifications.c.ended_at.is_(None),
            notifications.c.due_at <= NOW,
            or_(notifications.c.account_pk == account_pk, of_sandbox),
        )
        .order_by(notifications.c.due_at)
        .limit(limit)
        .with_for_update(skip_locked=True, of=notifications)
    )
    rows = connection.execute(
        update(notifications)
        .where(notifications.c.id.in_(due.scalar_subquery()))
        .values(due_at=in_seconds(_LEASE_SECONDS), tries=notifications.c.tries + 1)
        .returning(notifications, func.extract("epoch", NOW - notifications.c.created_at).label("age"))
    ).all()
    return [
        ClaimedNotice(
            id=row.id,
            batch_id=row.batch_id,
            url=row.url,
            style=NoticeStyle(row.style),
            event=row.event,
            facts=row.body,
            created_at=row.created_at,
            tries=row.tries,
            age_seconds=float(row.age),
        )
        for row in rows
    ]


def record_delivered(connection: Connection, notice_id: UUID) -> None:
    """Somebody took the notice."""
    connection.execute(
        update(notifications)
        .where(notifications.c.id == notice_id, notifications.c.delivered_at.is_(None))
        .values(delivered_at=NOW, ended_at=NOW, error=null())
    )


def record_failed(connection: Connection, notice: ClaimedNotice, problem: str, *, gives_up: bool) -> None:
    """A try failed; whoever has tried again meanwhile knows better."""
    later = {"ended_at": NOW} if gives_up else {"due_at": in_seconds(notice.wait_seconds)}
    connection.execute(
        update(notifications)
        .where(
            notifications.c.id == notice.id,
            notifications.c.tries == notice.tries,
            notifications.c.ended_at.is_(None),
        )
        .values(later | {"error": problem})
    )


def troubled_notices(connection: Connection, batch_id: str) -> Sequence[dict[str, Any]]:
    """The notices of a batch that did not get through so far: to which host, why, and whether they are given up."""
    rows = connection.execute(
        select(notifications)
        .where(
            notifications.c.batch_id == batch_id,
            notifications.c.delivered_at.is_(None),
            notifications.c.error.is_not(None),
        )
        .order_by(notifications.c.created_at, notifications.c.id)
    )
    return [
        {
            "event": row.event,
            "host": host_of(row.url),
            "tries": row.tries,
            "error": row.error,
            "given_up": row.ended_at is not None,
        }
        for row in rows
    ]
