"""What the account has, asked of the provider itself."""

import asyncio
from decimal import Decimal

from orchestrator.base.errors import SpendRefused, Unusable
from orchestrator.base.money import canonical
from orchestrator.base.settings import Settings
from orchestrator.katana.client import ProviderUnavailable
from orchestrator.operations.opening import Provider, real_provider
from orchestrator.store import readings
from orchestrator.store.database import Database


def balance(settings: Settings) -> Decimal:
    """The credits of the account in `settings` (guide, "Credits / API key examples"). Raises Unusable."""
    return read_balance(real_provider(settings))


def check_funds(database: Database, account_pk: int, provider: Provider, estimate: Decimal) -> None:
    """Raises Unusable where the provider refuses the credentials or does not answer, SpendRefused where the
    balance does not cover `estimate` credits. What it told is kept: it may be the baseline of later evidence.
    """
    with database.begin() as connection:
        quiet_since = readings.begin(connection, account_pk)
    has = read_balance(provider)
    with database.begin() as connection:
        readings.keep(connection, account_pk, has, quiet_since)
    if has < estimate:
        raise SpendRefused(
            f"the account has {canonical(has)} credits, the batch needs {canonical(estimate)}",
            hint="top up at the provider, or make the batch smaller",
        )


def read_balance(provider: Provider) -> Decimal:
    """The account's credits. Raises Unusable."""
    try:
        return asyncio.run(_balance(provider))
    except ProviderUnavailable as error:
        if error.status in (401, 402, 403):
            raise Unusable(
                f"{provider.base_url} does not accept the credentials ({error.reason})",
                hint="check KATANA_API_KEY and KATANA_API_SECRET",
            ) from None
        raise Unusable(
            f"{provider.base_url} cannot be used now ({error.reason})", hint="check KATANA_BASE_URL and the network"
        ) from None


async def _balance(provider: Provider) -> Decimal:
    async with provider.client() as client:
        return await client.balance()
