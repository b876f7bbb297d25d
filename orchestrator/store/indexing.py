"""What the index of a collection lists."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, func, select
from sqlalchemy.dialects.postgresql import distinct_on

from orchestrator.base.states import JobState
from orchestrator.store.collections import Shelf, wanted_names
from orchestrator.store.reviews import is_rejected
from orchestrator.store.tables import accounts, assets, batches, jobs, reviews, submissions

#: The job that was really made: of a reused one, the first.
_MADE = jobs.alias("made")


@dataclass(frozen=True, slots=True)
class Collection:
    """What a batch belongs to: the set of assets of one name and account (or of all sandboxes) at one destination."""

    name: str
    destination: str
    account_pk: int
    sandbox: bool

    @property
    def shelf(self) -> Shelf:
        return Shelf(self.name, None if self.sandbox else self.account_pk)


def collection_of(connection: Connection, batch_id: str) -> Collection:
    """The collection of an existing batch."""
    columns = (batches.c.name, batches.c.destination, batches.c.account_pk, batches.c.sandbox)
    return Collection(*connection.execute(select(*columns).where(batches.c.id == batch_id)).one())


@dataclass(frozen=True, slots=True)
class Stamp:
    """What an index was written from: as long as this is the same, the index would be, too.

    Of the collection's batches: which, in which state, and since when they have ended. `reviews` counts those of all
    collections, by their number and not by the newest, since one that began before that may be committed after it.
    """

    batches: frozenset[tuple[str, str, datetime | None]]
    reviews: int


def collection_stamp(connection: Connection, collection: Collection) -> Stamp:
    """The stamp of the collection as it is now."""
    query = select(batches.c.id, batches.c.state, batches.c.finished_at).where(_belongs_to(collection))
    found = frozenset((row.id, row.state, row.finished_at) for row in connection.execute(query))
    return Stamp(found, connection.execute(select(func.count()).select_from(reviews)).scalar_one())


def collection_assets(connection: Connection, collection: Collection) -> Iterator[Any]:
    """One row for each original that the index lists, with its job: of every name that the collection has now, the
    newest completed one that nobody rejected. What it cost and when it was made are those of the job that bought it.
    """
    newest = (
        select(jobs.c.pk)
        .ext(distinct_on(jobs.c.name))
        .join(batches, batches.c.id == jobs.c.batch_id)
        .where(_belongs_to(collection), jobs.c.state == JobState.COMPLETED, ~is_rejected())
        .where(jobs.c.name.in_(wanted_names(collection.shelf)))
        .order_by(jobs.c.name, batches.c.created_at.desc(), batches.c.id.desc())
    )
    query = (
        select(
            assets,
            jobs.c.name.label("job"),
            jobs.c.type,
            jobs.c.model,
            jobs.c.labels,
            jobs.c.row.label("columns"),
            func.coalesce(jobs.c.item["prompt"].astext, "").label("prompt"),
            _MADE.c.spent,
            accounts.c.unit,
            _MADE.c.ended_at,
            submissions.c.request_id,
        )
        .join(jobs, jobs.c.pk == assets.c.job_pk)
        .join(_MADE, _MADE.c.pk == func.coalesce(jobs.c.reused_from_pk, jobs.c.pk))
        .join(accounts, accounts.c.pk == _MADE.c.account_pk)
        .outerjoin(submissions, submissions.c.id == _MADE.c.submission_id)
        .where(jobs.c.pk.in_(newest), assets.c.role == "original", assets.c.stored_at.is_not(None))
    )
    yield from connection.execute(query)


def _belongs_to(collection: Collection) -> ColumnElement[bool]:
    return and_(collection.shelf.holds(), batches.c.destination == collection.destination)
