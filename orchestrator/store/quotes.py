"""What a request is offered for, and what is reserved for it: the reserve follows the quote, up or down, before
anything is signed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import accumulate
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, bindparam, func, select, update

from orchestrator.base.money import ZERO
from orchestrator.base.payments import ATOMIC, from_atomic, to_atomic
from orchestrator.base.states import JobState, SubmissionState
from orchestrator.store import ledger
from orchestrator.store.accounts import lock_account
from orchestrator.store.holds import is_blocked
from orchestrator.store.prices import AGREED, PRICE
from orchestrator.store.purse import Purse
from orchestrator.store.tables import batches, jobs, submissions

_UNSENT = (JobState.PENDING, JobState.WAITING)


@dataclass(frozen=True, slots=True)
class _More:
    """What a job needs beyond its reserve, as a purse looks at it."""

    name: str
    price: Decimal


def shares(amount: Decimal, prices: Sequence[Decimal]) -> list[Decimal]:
    """An amount of USDC shared out in proportion to `prices`, to the atomic unit: the shares add up to it exactly."""
    weights = [to_atomic(price) for price in prices]
    if not sum(weights):
        weights = [1] * len(prices)
    total, atomic = sum(weights), to_atomic(amount)
    ends = [atomic * reached // total for reached in accumulate(weights)]
    return [from_atomic(end - start) for start, end in zip([0, *ends], ends, strict=False)]


def raise_reserve(connection: Connection, submission_id: UUID, token: UUID, amount: Decimal) -> bool:
    """Reserve what a quote asks for beyond the reserve of an intent, as far as budget and caps allow it: else its
    batch is held. Takes the account's lock.

    False: nothing may be signed for it, also where the lease is gone or the batch was held meanwhile. Repeating it
    changes nothing.
    """
    intent = connection.execute(
        select(submissions.c.account_pk, batches.c.id, batches.c.budget, batches.c.usd_per_credit)
        .join(batches, batches.c.id == submissions.c.batch_id)
        .where(submissions.c.id == submission_id)
    ).one()
    lock_account(connection, intent.account_pk)
    ours = (submissions.c.lease_token == token) & (submissions.c.state == SubmissionState.INTENDED)
    locked = (
        select(submissions.c.reserved)
        .join(batches, batches.c.id == submissions.c.batch_id)
        .where(submissions.c.id == submission_id, ours, ~is_blocked())
        .with_for_update(of=submissions)
    )
    reserved = connection.execute(locked).scalar_one_or_none()
    if reserved is None:
        return False
    if amount <= reserved:
        return True
    first = select(jobs.c.name).where(jobs.c.submission_id == submission_id).order_by(jobs.c.position).limit(1)
    more = _More(connection.execute(first).scalar_one(), amount - reserved)
    if not Purse(connection, intent.account_pk).affordable(intent, [more]):
        return False
    reserve_exactly(connection, submission_id, amount)
    return True


def reserve_exactly(connection: Connection, submission_id: UUID, amount: Decimal) -> None:
    """Make the prices of a submission's jobs their shares of a quote, and its reserve the quote; what was agreed for
    them is remembered.

    Where that raises the reserve, `raise_reserve` has to have allowed it. Repeating it changes nothing.
    """
    rows = connection.execute(
        select(jobs.c.pk, PRICE.label("price"), AGREED.label("agreed"))
        .where(jobs.c.submission_id == submission_id)
        .order_by(jobs.c.position)
        .with_for_update()
    ).all()
    parts = dict(zip((row.pk for row in rows), shares(amount, [row.agreed for row in rows]), strict=True))
    more = {row.pk: parts[row.pk] - row.price for row in rows}
    changed = {pk: parts[pk] for pk, difference in more.items() if difference}
    if not changed:
        return
    ledger.reserve_more(connection, {pk: difference for pk, difference in more.items() if difference > 0})
    ledger.reserve_less(connection, {pk: -difference for pk, difference in more.items() if difference < 0})
    _set_prices(connection, changed)
    connection.execute(update(submissions).where(submissions.c.id == submission_id).values(reserved=amount))


def _set_prices(connection: Connection, prices: Mapping[int, Decimal]) -> None:
    connection.execute(
        update(jobs).where(jobs.c.pk == bindparam("of_pk")).values(price=bindparam("new_price"), agreed=AGREED),
        [{"of_pk": pk, "new_price": price} for pk, price in prices.items()],
    )


def reprice_unsent(connection: Connection, batch_id: str, model: str, factor: Decimal) -> tuple[int, Decimal]:
    """Make the unsent jobs of a model `factor` times as dear as they were planned; how many, and their price then.

    A price is never lowered. The caller holds the batch's lock.
    """
    raised = func.ceil(jobs.c.estimate * factor / ATOMIC) * ATOMIC
    row: Any = connection.execute(
        update(jobs)
        .where(jobs.c.batch_id == batch_id, jobs.c.model == model, jobs.c.state.in_(_UNSENT))
        .values(price=func.greatest(PRICE, raised))
        .returning(jobs.c.price)
    ).all()
    return len(row), sum((found.price for found in row), ZERO)
