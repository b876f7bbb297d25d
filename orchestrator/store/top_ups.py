"""Top-ups of a wallet's balance: signed payments without a submission, stored before they are sent.

None is signed while another one of the account may still settle, or has settled and nobody was told of it: whoever
repeats a command whose end they did not see is told of it, and pays nothing. Every UPDATE names the state it comes
from, so that who comes second changes nothing. Sending the same payment twice is no harm: whoever takes a turn moves
`due_at`, and nobody leases.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, exists, null, or_, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from orchestrator.base.states import PaymentState
from orchestrator.store.accounts import lock_account
from orchestrator.store.database import NOW
from orchestrator.store.sending import in_seconds
from orchestrator.store.tables import payments

if TYPE_CHECKING:
    from orchestrator.receipts.receipt import OrderedPayment, TopUpReceipt

#: What has settled may be credited a little later.
_CREDITED_WITHIN = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class TopUp:
    """A top-up as it is stored; `header` is as good as money, and None once it has ended. Amounts are USDC."""

    id: UUID
    state: PaymentState
    payment: "OrderedPayment"
    credited: Decimal
    created_at: datetime
    header: str | None = field(default=None, repr=False)
    sends: int = 0
    transaction: str | None = None
    receipt: dict[str, Any] | None = None
    evidence: dict[str, Any] | None = None


def record_signed(connection: Connection, account_pk: int, top_up: TopUp) -> bool:
    """Store a signed top-up before any byte of it leaves. Repeating it changes nothing.

    False: another one of the account may still settle, or nobody was told of it, so this one must never be sent.
    """
    lock_account(connection, account_pk)
    others = select(payments.c.id).where(_open(account_pk) | _untold(account_pk), payments.c.id != top_up.id)
    if connection.execute(others).first() is not None:
        return False
    values = top_up.payment.model_dump() | {
        "id": top_up.id,
        "account_pk": account_pk,
        "credited": top_up.credited,
        "state": PaymentState.SIGNED,
        "signed": top_up.header,
        "due_at": NOW,
        "created_at": NOW,
    }
    connection.execute(upsert(payments).values(values).on_conflict_do_nothing())
    stored = select(payments.c.id).where(payments.c.id == top_up.id)
    return connection.execute(stored).first() is not None


def take_over(connection: Connection, account_pk: int, receipt: "TopUpReceipt") -> bool:
    """Make the row of a top-up that only its receipt tells of: without a signature. False: it was known."""
    is_known = select(payments.c.id).where(payments.c.id == receipt.id)
    was_known = connection.execute(is_known).first() is not None
    values = receipt.payment.model_dump() | {
        "id": receipt.id,
        "account_pk": account_pk,
        "credited": receipt.credited,
        "state": PaymentState.SETTLED if receipt.is_told else PaymentState.SIGNED,
        "due_at": null() if receipt.is_told else NOW,
        "created_at": receipt.created_at,
        "ended_at": NOW if receipt.is_told else null(),
        "evidence": {"reason": "from its receipt"},
    }
    connection.execute(upsert(payments).values(values).on_conflict_do_nothing())
    if receipt.is_told:
        note_told(connection, receipt.id)
    return not was_known


def find_open(connection: Connection, account_pk: int) -> TopUp | None:
    """The account's first top-up that may still settle; None where there is none."""
    row = connection.execute(select(payments).where(_open(account_pk)).order_by(payments.c.created_at)).first()
    return None if row is None else _top_up(row)


def find_untold(connection: Connection, account_pk: int) -> TopUp | None:
    """The account's top-up that has settled, and that no command has told yet; None where there is none."""
    row = connection.execute(select(payments).where(_untold(account_pk)).order_by(payments.c.created_at)).first()
    return None if row is None else _top_up(row)


def note_told(connection: Connection, top_up_id: UUID) -> None:
    """A person was told how it ended: the same command asks for another one from now on."""
    connection.execute(
        update(payments).where(payments.c.id == top_up_id, payments.c.told_at.is_(None)).values(told_at=NOW)
    )


def find(connection: Connection, top_up_id: UUID) -> TopUp:
    """A top-up as it stands."""
    return _top_up(connection.execute(select(payments).where(payments.c.id == top_up_id)).one())


def take_turn(connection: Connection, account_pk: int, *, next_in_seconds: float) -> TopUp | None:
    """The account's open top-up, where it is due; it is due again in so many seconds."""
    first = select(payments.c.id).where(_open(account_pk)).order_by(payments.c.created_at).limit(1).scalar_subquery()
    row = connection.execute(
        update(payments)
        .where(_open(account_pk), payments.c.id == first, payments.c.due_at <= NOW)
        .values(due_at=in_seconds(next_in_seconds))
        .returning(payments)
    ).one_or_none()
    return None if row is None else _top_up(row)


def note_sent(connection: Connection, top_up_id: UUID, *, again_in_seconds: float) -> None:
    """Count a sending, before its first byte, and say when the next one is due."""
    connection.execute(
        update(payments)
        .where(payments.c.id == top_up_id, payments.c.state == PaymentState.SIGNED)
        .values(sends=payments.c.sends + 1, due_at=in_seconds(again_in_seconds))
    )


def note_look(connection: Connection, top_up_id: UUID, evidence: dict[str, Any], *, again_in_seconds: float) -> None:
    """Keep what the chain said, for the look that has to agree with it, and say when that one is due."""
    connection.execute(
        update(payments)
        .where(payments.c.id == top_up_id, payments.c.state == PaymentState.SIGNED)
        .values(evidence=evidence, due_at=in_seconds(again_in_seconds))
    )


def end(
    connection: Connection,
    top_up_id: UUID,
    state: PaymentState,
    *,
    transaction: str | None = None,
    receipt: dict[str, Any] | None = None,
    evidence: dict[str, Any] | None = None,
) -> bool:
    """It has settled, or is void: its signature is removed. False: it had ended before."""
    told = {"transaction": transaction, "receipt": receipt, "evidence": evidence}
    values = {"state": state, "signed": null(), "due_at": null(), "ended_at": NOW}
    return bool(
        connection.execute(
            update(payments)
            .where(payments.c.id == top_up_id, payments.c.state == PaymentState.SIGNED)
            .values(values | {name: value for name, value in told.items() if value is not None})
        ).rowcount
    )


def may_move(account_pk: int, since: datetime) -> ColumnElement[bool]:
    """Whether a top-up may have moved the account's balance since then: it is open, or ended then or shortly before."""
    late = payments.c.ended_at > since - _CREDITED_WITHIN
    of_account = (payments.c.account_pk == account_pk) & payments.c.submission_id.is_(None)
    return exists().where(of_account, payments.c.state != PaymentState.VOID, or_(payments.c.ended_at.is_(None), late))


def _open(account_pk: int) -> ColumnElement[bool]:
    return (
        (payments.c.account_pk == account_pk)
        & payments.c.submission_id.is_(None)
        & (payments.c.state == PaymentState.SIGNED)
    )


def _untold(account_pk: int) -> ColumnElement[bool]:
    return (
        (payments.c.account_pk == account_pk)
        & payments.c.submission_id.is_(None)
        & (payments.c.state == PaymentState.SETTLED)
        & payments.c.told_at.is_(None)
    )


def _top_up(row: Any) -> TopUp:
    from orchestrator.receipts.receipt import OrderedPayment  # reading a batch needs none of it

    return TopUp(
        id=row.id,
        state=PaymentState(row.state),
        payment=OrderedPayment.model_validate({name: getattr(row, name) for name in OrderedPayment.model_fields}),
        credited=row.credited,
        created_at=row.created_at,
        header=row.signed,
        sends=row.sends,
        transaction=row.transaction,
        receipt=row.receipt,
        evidence=row.evidence,
    )
