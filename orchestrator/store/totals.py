"""What the jobs of a batch add up to: how many are in each state, their money, and what is ahead, model by model."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from sqlalchemy import ColumnElement, Connection, case, func, or_, select

from orchestrator.base.money import ZERO
from orchestrator.base.states import Book, HoldCode, JobState, WaitsFor
from orchestrator.store.prices import PRICE
from orchestrator.store.tables import jobs, ledger

_RESERVED = (JobState.SUBMITTING, JobState.GENERATING)
#: Jobs that nothing was paid for yet.
_UNSENT = (JobState.WAITING, JobState.PENDING)
_UNDER_WAY = (JobState.SUBMITTING, JobState.GENERATING, JobState.COPYING)


@dataclass(frozen=True, slots=True)
class ModelWork:
    """Jobs of one model that are not sent yet, and that are under way: from their POST until they are stored."""

    model: str
    unsent: int
    under_way: int


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over all jobs of a batch, in its unit. `prices` are what is reserved for its jobs, or would be, by state."""

    counts: Mapping[str, int]
    prices: Mapping[str, Decimal]
    reused: int
    #: Jobs that wait until a person has looked at others.
    kept_back: int
    spent: Decimal
    lost: Decimal
    work: tuple[ModelWork, ...]

    @property
    def reserved(self) -> Decimal:
        return self.price(*_RESERVED)

    @property
    def in_doubt(self) -> Decimal:
        return self.price(JobState.IN_DOUBT)

    def price(self, *states: JobState) -> Decimal:
        """The price of all jobs in these states."""
        return sum((self.prices.get(state, ZERO) for state in states), ZERO)

    def at_stake(self, code: HoldCode) -> Decimal:
        """The money that a hold is about: what may be lost, what cannot be fetched, or what cannot be bought."""
        match code:
            case HoldCode.IN_DOUBT:
                return self.in_doubt
            case HoldCode.DESTINATION_FAILING:
                return self.price(JobState.COPYING)
            case HoldCode.PROVIDER_REFUSING:
                return self.price(JobState.GENERATING, *_UNSENT)
            case _:
                return self.price(*_UNSENT)


def batch_totals(connection: Connection, batch_id: str) -> Totals:
    """Add up the jobs of a batch. It reads all of them: of 100,000 this is work of a tenth of a second."""
    waits_for_person = jobs.c.waits_for.in_([WaitsFor.CANARY, WaitsFor.GATE])
    rows = connection.execute(
        select(
            jobs.c.state,
            jobs.c.model,
            func.count().label("n"),
            func.count(jobs.c.reused_from_pk).label("reused"),
            func.count().filter(waits_for_person).label("kept_back"),
            func.sum(PRICE).label("price"),
            func.coalesce(func.sum(jobs.c.spent), 0).label("spent"),
        )
        .where(jobs.c.batch_id == batch_id)
        .group_by(jobs.c.state, jobs.c.model)
    ).all()
    counts: Counter[str] = Counter()
    unsent: Counter[str] = Counter()
    under_way: Counter[str] = Counter()
    prices: dict[str, Decimal] = {}
    for row in rows:
        counts[row.state] += row.n
        prices[row.state] = prices.get(row.state, ZERO) + row.price
        unsent[row.model] += row.n if row.state in _UNSENT else 0
        under_way[row.model] += row.n if row.state in _UNDER_WAY else 0
    return Totals(
        counts=counts,
        prices=prices,
        reused=sum(row.reused for row in rows),
        kept_back=sum(row.kept_back for row in rows),
        spent=sum((Decimal(row.spent) for row in rows), ZERO),
        lost=_lost(connection, batch_id),
        work=tuple(ModelWork(model, unsent[model], under_way[model]) for model in sorted(unsent)),
    )


def _lost(connection: Connection, batch_id: str) -> Decimal:
    """Money that was taken for charged with nothing to fetch for it; it is a part of what was spent."""
    amount = case((ledger.c.to_book == Book.LOST, ledger.c.amount), else_=-ledger.c.amount)
    lost = select(func.coalesce(func.sum(amount), 0)).where(ledger.c.batch_id == batch_id, _is_about_losses())
    return Decimal(connection.execute(lost).scalar_one())


def _is_about_losses() -> ColumnElement[bool]:
    """The condition of the ledger's index of losses."""
    return or_(ledger.c.from_book == Book.LOST, ledger.c.to_book == Book.LOST)
