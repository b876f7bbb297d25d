"""Whom an origin's payments go to: pinned at first use, so that no later answer can send them elsewhere."""

from sqlalchemy import Connection, select
from sqlalchemy.dialects.postgresql import insert as upsert

from orchestrator.base.payments import Network
from orchestrator.store.database import NOW
from orchestrator.store.tables import payees


def pinned(connection: Connection, origin: str, network: Network) -> str | None:
    """The address that payments to an origin go to on a network; None before the first."""
    found = select(payees.c.address).where(payees.c.origin == origin, payees.c.network == network)
    return connection.execute(found).scalar_one_or_none()


def pin(connection: Connection, origin: str, network: Network, address: str) -> str:
    """Pin an address where there is none; the one that is pinned, which another may have done meanwhile."""
    values = {"origin": origin, "network": network, "address": address, "pinned_at": NOW}
    connection.execute(upsert(payees).values(values).on_conflict_do_nothing())
    found = pinned(connection, origin, network)
    assert found is not None
    return found
