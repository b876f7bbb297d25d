"""Holds for money: a batch's budget or a cap of its account has no room. They say what is so now, not what was so when
the batch was held: a command that was right then may lower a cap by now.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from sqlalchemy import Connection, func, select

from orchestrator.base.money import canonical, in_words
from orchestrator.base.payments import SETTLEMENT_ALLOWANCE, Payment, Unit
from orchestrator.base.states import HoldCode, JobState
from orchestrator.store.budgets import (
    Cap,
    account_caps,
    committed_credits,
    in_unit,
    raise_batch_command,
    raise_command,
)
from orchestrator.store.holds import put_hold
from orchestrator.store.prices import PRICE
from orchestrator.store.tables import batches, holds, jobs

#: The most that a direct payment may be offered for, of what was planned; what is dearer waits for a yes.
_OFFERED = Decimal("1.1")
_IS_UNSENT = jobs.c.state.in_([JobState.PENDING, JobState.WAITING])

#: Money that a batch wants in its account's unit, and what one of that costs in dollars.
Want = tuple[Decimal, Decimal]


class Words(NamedTuple):
    """What a hold says, and the command that helps."""

    message: str
    command: str


class ToldHold(NamedTuple):
    """A hold of a batch, as it is told now."""

    code: HoldCode
    since: datetime
    message: str
    command: str
    blocking: bool


def told_holds(connection: Connection, batch_id: str) -> list[ToldHold]:
    """The holds of a batch, in the order of their codes."""
    found = connection.execute(select(holds).where(holds.c.batch_id == batch_id).order_by(holds.c.code)).all()
    return [_told(connection, row) for row in found]


def _told(connection: Connection, row: Any) -> ToldHold:
    words = Words(row.message, row.command)
    if row.code == HoldCode.BUDGET_REACHED:
        words = words_now(connection, row.batch_id) or words
    return ToldHold(HoldCode(row.code), row.since, *words, row.blocking)


def put_money_hold(connection: Connection, batch_id: str, words: Words) -> None:
    """Hold a batch until a person has made room, and resumes it."""
    put_hold(connection, batch_id, HoldCode.BUDGET_REACHED, *words)


def words_now(connection: Connection, batch_id: str) -> Words | None:
    """What a hold for money of a batch says now; None where it has nothing to send."""
    batch = connection.execute(select(batches).where(batches.c.id == batch_id)).one()
    payment = Payment(batch.payment)
    job = connection.execute(
        select(jobs.c.name, _most(payment).label("price"))
        .where(jobs.c.batch_id == batch_id, jobs.c.state == JobState.PENDING, PRICE > 0)
        .order_by(jobs.c.due_at, jobs.c.pk)
        .limit(1)
    ).one_or_none()
    if job is None:
        return None
    if batch.budget is not None:
        left = batch.budget - committed_credits(connection, batch_id, fold=False)
        if job.price > left:
            return budget_words(batch, job, left, payment.unit, unsent_price(connection, batch_id, payment))
    rate = batch.usd_per_credit
    caps = account_caps(connection, batch.account_pk)
    passed = next((cap for cap in caps if cap.lacks(job.price, rate) > 0), None)
    if passed is not None:
        return cap_words(job, passed, caps, rate, wants(connection, batch.account_pk))
    price = in_words(job.price, payment.unit)
    return Words(f"there is room again for job {job.name}, which needs {price}", f"orchestrator resume {batch_id}")


def budget_words(batch: Any, job: Any, left: Decimal, unit: Unit, rest: Decimal) -> Words:
    """That the budget of a batch, which has so much `left`, does not allow the next job; what is not sent needs `rest`.

    `batch` has `id` and `budget`, `job` a `name` and a `price`.
    """
    message = (
        f"job {job.name} needs {in_words(job.price, unit)}, {canonical(job.price - left)} more than the "
        f"budget of {canonical(batch.budget)} has left"
    )
    return Words(message, raise_batch_command(batch.id, unit, max(batch.budget - left + rest, batch.budget)))


def cap_words(job: Any, cap: Cap, caps: Sequence[Cap], usd_rate: Decimal, all_wants: Sequence[Want]) -> Words:
    """That a cap does not allow the next job, with the command that makes room in all `caps` of the account for all
    that its held batches want.
    """
    needed, missing = in_unit(job.price, cap.unit, usd_rate), cap.lacks(job.price, usd_rate)
    message = (
        f"job {job.name} needs {in_words(needed, cap.unit)}, {canonical(missing)} more than the "
        f"{cap.window} cap of {in_words(cap.amount, cap.unit)} has left"
    )
    return Words(message, raise_command(caps, all_wants) or "orchestrator budget show")


def wants(connection: Connection, account_pk: int, *, but: str | None = None) -> list[Want]:
    """What the batches of an account that are held for money have not sent, `but` one."""
    found = connection.execute(
        select(batches.c.id, batches.c.payment, batches.c.usd_per_credit)
        .join(holds, holds.c.batch_id == batches.c.id)
        .where(batches.c.account_pk == account_pk, holds.c.code == HoldCode.BUDGET_REACHED)
    ).all()
    return [
        (unsent_price(connection, row.id, Payment(row.payment)), row.usd_per_credit) for row in found if row.id != but
    ]


def unsent_price(connection: Connection, batch_id: str, payment: Payment = Payment.CREDITS) -> Decimal:
    """What the jobs of a batch cost that are not sent yet, at most."""
    total = select(func.coalesce(func.sum(_most(payment)), 0)).where(jobs.c.batch_id == batch_id, _IS_UNSENT)
    return Decimal(connection.execute(total).scalar_one())


def _most(payment: Payment) -> Any:
    """What a job may cost: what it is offered for is told only when it is to be sent."""
    return PRICE * _OFFERED + SETTLEMENT_ALLOWANCE if payment.is_direct else PRICE
