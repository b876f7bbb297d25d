"""When the provider charges more than its catalogue says: what is reserved for that model follows what was seen.

The first such charge re-prices all of the account's jobs of the model, in the transaction that records it and under
the account's lock: no reserve is made at the old price any more, so that what passes the reserves is at most what was
in flight. Batches that it makes dearer than they tolerate are held.
"""

import logging
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, bindparam, case, func, select, update

from orchestrator.base.money import canonical, in_words
from orchestrator.base.payments import Unit
from orchestrator.base.states import ENDED_BATCHES, EntryKind, HoldCode, JobState
from orchestrator.store import ledger
from orchestrator.store.accounts import lock_account
from orchestrator.store.holds import put_hold
from orchestrator.store.rowsets import IDS
from orchestrator.store.tables import accounts, batches, jobs, submissions

log = logging.getLogger("orchestrator.store")

_OPEN = (JobState.SUBMITTING, JobState.GENERATING, JobState.IN_DOUBT)
_UNSENT = (JobState.PENDING, JobState.WAITING)
_PRICE = func.coalesce(jobs.c.price, jobs.c.estimate)
#: Into how many parts one of a unit is divided at the provider: credits have one decimal, USDC has six.
_FINEST = {Unit.CREDITS: 10, Unit.USDC: 1_000_000}


@dataclass(frozen=True, slots=True)
class _Rise:
    """A job that was estimated at `estimate` was charged `charged`, more than is reserved for it, both in `unit`."""

    account_pk: int
    model: str
    estimate: Decimal
    charged: Decimal
    unit: Unit

    def price(self) -> ColumnElement[Any]:
        """A job's price after this: what was seen, in proportion to its estimate; never less than it was."""
        seen: ColumnElement[Any] = case((jobs.c.estimate == self.estimate, self.charged), else_=self._in_proportion())
        return func.greatest(_PRICE, seen)

    def _in_proportion(self) -> ColumnElement[Any]:
        if not self.estimate:
            return _PRICE  # from nothing there is no proportion
        finest = _FINEST[self.unit]
        return func.ceil(jobs.c.estimate * self.charged * finest / self.estimate) / finest

    def concerns(self) -> ColumnElement[bool]:
        return (jobs.c.account_pk == self.account_pk) & (jobs.c.model == self.model) & (self.price() > _PRICE)


def follow_charges(connection: Connection, charges: Mapping[tuple[UUID, int], Decimal]) -> None:
    """Where a charge that the provider named (by submission and position, all of one account) passes its reserve,
    re-price all it concerns.

    Call it before the transaction changes a row: it takes the account's lock.
    """
    rises = _rises(connection, charges)
    if rises:
        lock_account(connection, rises[0].account_pk)
        _lock_batches(connection, rises[0].account_pk)
        for rise in _rises(connection, charges):  # another may have re-priced it meanwhile
            batch_ids = _concerned_batches(connection, rise)
            _raise_open(connection, rise)
            _raise_unsent(connection, rise)
            _hold_dearer(connection, rise, batch_ids)


def _lock_batches(connection: Connection, account_pk: int) -> None:
    """Keep off who cancels, pauses or approves: they change the jobs of a batch under its lock."""
    still_open = batches.c.account_pk == account_pk, batches.c.state.not_in(ENDED_BATCHES)
    locked = select(batches.c.id).where(*still_open).order_by(batches.c.id).with_for_update(key_share=True)
    connection.execute(locked).all()


def _rises(connection: Connection, charges: Mapping[tuple[UUID, int], Decimal]) -> list[_Rise]:
    rows = connection.execute(_GENERATING, {"ids": sorted({submission_id for submission_id, _ in charges})}).all()
    return [
        _Rise(row.account_pk, row.model, row.estimate, charges[row.submission_id, row.position], Unit(row.unit))
        for row in rows
        if charges.get((row.submission_id, row.position), row.price) > row.price
    ]


_GENERATING = (
    select(
        jobs.c.submission_id,
        jobs.c.position,
        jobs.c.account_pk,
        jobs.c.model,
        jobs.c.estimate,
        _PRICE.label("price"),
        accounts.c.unit,
    )
    .join(accounts, accounts.c.pk == jobs.c.account_pk)
    .where(jobs.c.submission_id == IDS, jobs.c.state == JobState.GENERATING)
    .order_by(jobs.c.submission_id, jobs.c.position)
)


def _raise_open(connection: Connection, rise: _Rise) -> None:
    """Reserve more for what is at the provider or in doubt."""
    sent = select(jobs.c.submission_id).where(rise.concerns(), jobs.c.state.in_(_OPEN))
    connection.execute(
        select(submissions.c.id)
        .where(submissions.c.id.in_(sent))
        .order_by(submissions.c.id)
        .with_for_update(key_share=True)
    ).all()
    found = connection.execute(
        select(jobs.c.pk, jobs.c.submission_id, jobs.c.state, (rise.price() - _PRICE).label("more"))
        .where(rise.concerns(), jobs.c.state.in_(_OPEN))
        .order_by(jobs.c.pk)
        .with_for_update(key_share=True)
    ).all()
    if not found:
        return
    by_submission: dict[UUID, Decimal] = defaultdict(Decimal)
    for row in found:
        by_submission[row.submission_id] += row.more
    connection.execute(
        update(submissions)
        .where(submissions.c.id == bindparam("of_id"))
        .values(reserved=submissions.c.reserved + bindparam("more")),
        [{"of_id": submission_id, "more": more} for submission_id, more in by_submission.items()],
    )
    connection.execute(update(jobs).where(jobs.c.pk.in_([row.pk for row in found])).values(price=rise.price()))
    ledger.reserve_more(connection, {row.pk: row.more for row in found})
    in_doubt = {row.submission_id for row in found if row.state == JobState.IN_DOUBT}
    ledger.move(connection, EntryKind.DOUBT, in_doubt)


def _raise_unsent(connection: Connection, rise: _Rise) -> None:
    connection.execute(update(jobs).where(rise.concerns(), jobs.c.state.in_(_UNSENT)).values(price=rise.price()))


def _concerned_batches(connection: Connection, rise: _Rise) -> list[str]:
    """The batches with unsent jobs that this makes dearer."""
    found = select(jobs.c.batch_id).distinct().where(rise.concerns(), jobs.c.state.in_(_UNSENT))
    return [str(batch_id) for batch_id in connection.execute(found).scalars()]


def _hold_dearer(connection: Connection, rise: _Rise, batch_ids: list[str]) -> None:
    """Hold those of the batches whose unsent jobs of the model are dearer now than they tolerate."""
    dearer = func.bool_or(jobs.c.estimate * (1 + func.coalesce(batches.c.price_tolerance, 0)) < _PRICE)
    found = connection.execute(
        select(
            jobs.c.batch_id,
            func.count().label("count"),
            func.sum(_PRICE).label("cost"),
            func.sum(jobs.c.estimate).label("estimate"),
            dearer.label("dearer"),
        )
        .join(batches, batches.c.id == jobs.c.batch_id)
        .where(jobs.c.batch_id.in_(batch_ids), jobs.c.model == rise.model, jobs.c.state.in_(_UNSENT))
        .group_by(jobs.c.batch_id)
        .order_by(jobs.c.batch_id)
    ).all()
    seen = f"{rise.model} was charged {in_words(rise.charged, rise.unit)}, not {canonical(rise.estimate)}"
    log.warning("%s; what is reserved for it follows", seen)
    for row in found:
        rest = f"its {row.count} jobs left would cost {in_words(row.cost, rise.unit)}, not {canonical(row.estimate)}"
        log.warning("batch %s: %s%s", row.batch_id, rest, "" if row.dearer else ", which it tolerates")
        if row.dearer:
            command = f"orchestrator approve {row.batch_id}"
            put_hold(connection, row.batch_id, HoldCode.PRICE_CHANGED, f"{seen}: {rest}", command)
