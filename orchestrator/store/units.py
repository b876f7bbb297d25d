"""What the amounts of an account or a batch are counted in."""

from sqlalchemy import Connection, select

from orchestrator.base.payments import Payment, Unit
from orchestrator.store.tables import accounts, batches


def account_unit(connection: Connection, account_pk: int) -> Unit:
    """The unit of an existing account."""
    return Unit(connection.execute(select(accounts.c.unit).where(accounts.c.pk == account_pk)).scalar_one())


def batch_unit(connection: Connection, batch_id: str) -> Unit:
    """The unit of an existing batch."""
    payment = connection.execute(select(batches.c.payment).where(batches.c.id == batch_id)).scalar_one()
    return Payment(payment).unit
