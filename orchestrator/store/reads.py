"""Reading batches for people, scripts and operations: what there is, and the `status` document of interface "JSON"."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, Connection, case, exists, or_, select, text

from orchestrator.base.clock import rfc3339
from orchestrator.base.money import ZERO, canonical
from orchestrator.base.payments import Payment
from orchestrator.base.states import ENDED_BATCHES, BatchState, HoldCode, JobState
from orchestrator.store.accounts import lock_account
from orchestrator.store.amounts import batch_amounts
from orchestrator.store.batches import RESUMABLE_HOLDS
from orchestrator.store.budgets import account_caps
from orchestrator.store.database import NOW
from orchestrator.store.deliveries import troubled_notices
from orchestrator.store.money_holds import told_holds
from orchestrator.store.payments import may_settle
from orchestrator.store.pulse import provider_document
from orchestrator.store.tables import accounts, batches, holds
from orchestrator.store.totals import Totals, batch_totals
from orchestrator.store.unsent import unsent
from orchestrator.store.unstored import has_unstored, unstored_document


def now(connection: Connection) -> str:
    """The database's clock, as `rfc3339`."""
    return str(rfc3339(connection.execute(select(NOW)).scalar_one()))


@dataclass(frozen=True, slots=True)
class BatchHeader:
    """What an operation has to know of a batch before it works on it. Its money is in the account's unit.

    `is_open`: there is something left to do, if only its index, which a process killed at the very end did not write,
    or a payment that its chain is to be asked about.
    """

    id: str
    state: BatchState
    is_open: bool
    sandbox: bool
    account_pk: int
    origin: str
    account: str
    unsent_credits: Decimal
    usd_per_credit: Decimal
    payment: Payment
    bundle: int


def batch_header(connection: Connection, batch_id: str) -> BatchHeader:
    """The header of an existing batch; `unsent_credits` is the price of what `resume` may send."""
    row = connection.execute(
        select(
            batches,
            accounts.c.origin,
            accounts.c.account,
            _is_kept_back().label("is_kept_back"),
            may_settle(batches.c.id).label("may_settle"),
        )
        .join(accounts, accounts.c.pk == batches.c.account_pk)
        .where(batches.c.id == batch_id)
    ).one()
    state = BatchState(row.state)
    return BatchHeader(
        id=row.id,
        state=state,
        is_open=row.index_due or row.may_settle or state not in ENDED_BATCHES,
        sandbox=row.sandbox,
        account_pk=row.account_pk,
        origin=row.origin,
        account=row.account,
        unsent_credits=ZERO if row.is_kept_back else unsent(connection, batch_id).by_itself,
        usd_per_credit=row.usd_per_credit,
        payment=Payment(row.payment),
        bundle=row.bundle,
    )


def _is_kept_back() -> ColumnElement[bool]:
    """Whether a hold that `resume` does not lift keeps a batch from sending anything."""
    lifted = (*RESUMABLE_HOLDS, HoldCode.STOP_WHEN)
    return exists().where(holds.c.batch_id == batches.c.id, holds.c.blocking, holds.c.code.not_in(lifted))


def is_batch(connection: Connection, batch_id: str) -> bool:
    """Whether there is a batch of this id."""
    return connection.execute(select(batches.c.id).where(batches.c.id == batch_id)).first() is not None


def was_stored(connection: Connection, batch_id: str, account_pk: int) -> bool:
    """Whether a batch was stored by a transaction whose end its client did not see.

    Waits until that transaction, which holds the account's lock, has ended either way; OutOfReach after a while.
    """
    connection.execute(text("SET LOCAL lock_timeout = '5s'"))
    lock_account(connection, account_pk)
    return is_batch(connection, batch_id)


def open_batches(connection: Connection) -> list[str]:
    """Every batch that `resume` without an argument takes up, the oldest first."""
    found = connection.execute(
        select(batches.c.id)
        .where(or_(batches.c.state.not_in(ENDED_BATCHES), batches.c.index_due))
        .order_by(batches.c.created_at)
    ).scalars()
    return [str(batch_id) for batch_id in found]


def batch_document(connection: Connection, batch_id: str) -> dict[str, Any]:
    """The `status` document of one batch."""
    return batch_with_totals(connection, batch_id)[0]


def batch_with_totals(connection: Connection, batch_id: str) -> tuple[dict[str, Any], Totals]:
    """The `status` document of one batch, and what its jobs add up to."""
    batch = connection.execute(select(batches).where(batches.c.id == batch_id)).one()
    totals = batch_totals(connection, batch_id)
    amounts = batch_amounts(
        batch, reserved=totals.reserved, spent=totals.spent, in_doubt=totals.in_doubt, lost=totals.lost
    )
    has_ended = batch.state in ENDED_BATCHES
    document = {
        "batch": batch.id,
        "name": batch.name,
        "state": batch.state,
        "sandbox": batch.sandbox,
        "jobs": {"total": sum(totals.counts.values())}
        | {state.value: totals.counts.get(state, 0) for state in JobState},
        "reused": totals.reused,
        "payment": batch.payment,
        "credits": amounts["credits"],
        "usd": {
            "estimated": canonical(batch.estimated * batch.usd_per_credit),
            "spent": canonical(totals.spent * batch.usd_per_credit),
        },
        "usdc": amounts["usdc"],
        "over_budget": _over_budget(batch, totals),
        "holds": _holds(connection, batch_id, totals),
        "unstored": unstored_document(connection, batch_id),
        "near_caps": _near_caps(connection, batch),
        "provider": None if has_ended else provider_document(connection, batch.account_pk),
        "notifications": troubled_notices(connection, batch_id),
        "destination": batch.destination,
        "created_at": rfc3339(batch.created_at),
        "cancelled_at": rfc3339(batch.cancelled_at),
        "finished_at": rfc3339(batch.finished_at),
    }
    return document, totals


def _over_budget(batch: Any, totals: Totals) -> str | None:
    """How much more than the budget is spent, reserved or in doubt, in the batch's unit: prices rose on the way."""
    if batch.budget is None:
        return None
    over = totals.spent + totals.reserved + totals.in_doubt - batch.budget
    return canonical(over) if over > 0 else None


def account_of(connection: Connection, batch_id: str) -> int:
    """The account that pays for an existing batch."""
    return int(connection.execute(select(batches.c.account_pk).where(batches.c.id == batch_id)).scalar_one())


def _holds(connection: Connection, batch_id: str, totals: Totals) -> list[dict[str, Any]]:
    """Each with the money, in the batch's unit, that it is about."""
    return [
        {
            "code": row.code,
            "since": rfc3339(row.since),
            "message": row.message,
            "command": row.command,
            "blocking": row.blocking,
            "at_stake": canonical(totals.at_stake(row.code)),
        }
        for row in told_holds(connection, batch_id)
    ]


def _near_caps(connection: Connection, batch: Any) -> list[dict[str, Any]]:
    """The caps of the account that soon stop a batch that can still move."""
    if batch.state in ENDED_BATCHES:
        return []
    return [cap.document() for cap in account_caps(connection, batch.account_pk) if cap.is_near]


def recent_batches(connection: Connection, limit: int = 20) -> list[str]:
    """The newest batches; those that need a person come first, then those that still run."""
    is_held = exists().where(holds.c.batch_id == batches.c.id)
    needs_one = or_(batches.c.state == BatchState.HELD, is_held, has_unstored())
    urgency = case((needs_one, 0), (batches.c.finished_at.is_(None), 1), else_=2)
    found = connection.execute(
        select(batches.c.id).order_by(urgency, batches.c.created_at.desc(), batches.c.id).limit(limit)
    ).scalars()
    return [str(batch_id) for batch_id in found]
