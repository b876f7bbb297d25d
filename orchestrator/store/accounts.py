"""Accounts: who pays at which provider, and whose work is claimed."""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, Select, and_, or_, select
from sqlalchemy.dialects.postgresql import insert as upsert

from orchestrator.base.payments import Unit
from orchestrator.store.tables import accounts, batches


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose work is claimed: one account, and all its batches or only the named ones."""

    account_pk: int
    batch_ids: tuple[str, ...] | None = None

    def covers(self, account: ColumnElement[int], batch: ColumnElement[str]) -> ColumnElement[bool]:
        if self.batch_ids is None:
            return account == self.account_pk
        return and_(account == self.account_pk, batch.in_(self.batch_ids))


def account_pk(connection: Connection, origin: str, account: str, unit: Unit = Unit.CREDITS) -> int:
    """The row of one account at one provider origin, made where it is new, with its money counted in `unit`."""
    connection.execute(upsert(accounts).values(origin=origin, account=account, unit=unit).on_conflict_do_nothing())
    found = select(accounts.c.pk).where(accounts.c.origin == origin, accounts.c.account == account)
    return int(connection.execute(found).scalar_one())


def origin_and_account(connection: Connection, account_pk: int) -> tuple[str, str]:
    """The provider's origin and the account of a row."""
    row = connection.execute(select(accounts.c.origin, accounts.c.account).where(accounts.c.pk == account_pk)).one()
    return str(row.origin), str(row.account)


def accounts_at(connection: Connection, origin: str) -> dict[int, str]:
    """Every account at a provider origin, by its row, the oldest first."""
    found = connection.execute(
        select(accounts.c.pk, accounts.c.account).where(accounts.c.origin == origin).order_by(accounts.c.pk)
    )
    return {int(row.pk): str(row.account) for row in found}


def lock_account(connection: Connection, account_pk: int) -> None:
    """Lock the account's row: what is read of its money and its pace from here on stays true until the end.

    The lock lets others refer to the row: entries of the ledger do, by who already holds a submission.
    """
    connection.execute(select(accounts.c.pk).where(accounts.c.pk == account_pk).with_for_update(key_share=True))


def has_locked_account(connection: Connection, account_pk: int) -> bool:
    """Lock the account's row as `lock_account` does, unless someone else has it: False then, at once."""
    row = select(accounts.c.pk).where(accounts.c.pk == account_pk).with_for_update(key_share=True, skip_locked=True)
    return connection.execute(row).first() is not None


def lock_accounts_beside(connection: Connection, account_pk: int) -> None:
    """Lock the rows of all accounts at the account's provider, as `lock_account` does, always in the same order."""
    beside = accounts_beside(account_pk)
    connection.execute(
        select(accounts.c.pk).where(accounts.c.pk.in_(beside)).order_by(accounts.c.pk).with_for_update(key_share=True)
    ).all()


def accounts_beside(account_pk: int) -> Select[tuple[int]]:
    """The rows of all accounts at an account's provider, its own among them."""
    origin = select(accounts.c.origin).where(accounts.c.pk == account_pk).scalar_subquery()
    return select(accounts.c.pk).where(accounts.c.origin == origin)


def is_of_collection(name: str, account_pk: int) -> ColumnElement[bool]:
    """Of batches: whether it is of this collection, whoever pays for it. A sandbox is its own account's only."""
    beside = and_(~batches.c.sandbox, batches.c.account_pk.in_(accounts_beside(account_pk)))
    return and_(batches.c.name == name, or_(batches.c.account_pk == account_pk, beside))
