"""What the account has, asked of the provider itself."""

import asyncio
import logging
from decimal import Decimal

from orchestrator.base.errors import SpendRefused, Unusable
from orchestrator.base.money import canonical, in_words
from orchestrator.base.payments import Network
from orchestrator.base.settings import Settings
from orchestrator.chain.chains import Chains
from orchestrator.chain.rpc import RpcUnavailable
from orchestrator.katana.line import ProviderUnavailable
from orchestrator.operations.opening import Provider, key_settings, real_provider
from orchestrator.payments.wallet import Wallet
from orchestrator.store import readings
from orchestrator.store.database import Database

log = logging.getLogger("orchestrator.operations")


_REFUSED_HINT = {
    False: "check KATANA_API_KEY and KATANA_API_SECRET",
    True: "a wallet proves itself by its key and the time: check this machine's clock",
}


def balance(settings: Settings) -> Decimal:
    """The credits of the account in `settings` (guide, "Credits / API key examples"). Raises Unusable."""
    return read_balance(real_provider(settings))


def check_funds(database: Database, account_pk: int, provider: Provider, amount: Decimal) -> None:
    """Raises SpendRefused where whoever pays has less than `amount`, in the unit of the payment; Unusable where the
    provider refuses the credentials or does not answer, or Solana cannot be asked. A balance that the provider told is
    kept: it may be the baseline of later evidence.
    """
    if provider.payment.is_direct:
        _check_wallet(provider, amount)
        return
    with database.begin() as connection:
        quiet_since = readings.begin(connection, account_pk)
    has = read_balance(provider)
    with database.begin() as connection:
        readings.keep(connection, account_pk, has, quiet_since)
    if has < amount:
        whose = "the account" if provider.payer.balance_of is None else f"the balance of {provider.payer.balance_of}"
        raise _lacks(provider, whose, has, amount, hint=_top_up_hint(provider, amount - has))


def keep_reading(database: Database, account_pk: int, provider: Provider) -> bool:
    """Ask for the balance, and keep what is told. False: not now, something of ours is under way. Raises Unusable."""
    with database.begin() as connection:
        quiet_since = readings.begin(connection, account_pk)
    if quiet_since is None:
        return False
    has = read_balance(provider)
    with database.begin() as connection:
        return readings.keep(connection, account_pk, has, quiet_since)


def _check_wallet(provider: Provider, amount: Decimal) -> None:
    """Whether the wallet that signs has the USDC on its chain."""
    wallet = provider.payer.wallet
    assert wallet is not None
    try:
        has = asyncio.run(_usdc_of(provider, wallet))
    except RpcUnavailable as error:
        if wallet.network is Network.SOLANA:  # payments need its blockhashes
            raise Unusable(
                f"Solana cannot be asked: {error.reason}", hint="check SOLANA_RPC_URL and the network"
            ) from None
        log.warning("whether %s has enough USDC on Base is not known: %s", wallet.address, error.reason)
        return
    if has < amount:
        hint = f"send USDC to it on {wallet.network.name.capitalize()}, or make the batch smaller"
        raise _lacks(provider, f"the wallet {wallet.address}", has, amount, hint=hint)


async def _usdc_of(provider: Provider, wallet: Wallet) -> Decimal:
    async with Chains(provider.base_rpc_url, provider.solana_rpc_url) as chains:
        return await chains.usdc_of(wallet.network, wallet.address)


def _lacks(provider: Provider, whose: str, has: Decimal, amount: Decimal, *, hint: str) -> SpendRefused:
    unit = provider.payment.unit
    return SpendRefused(f"{whose} has {in_words(has, unit)}, the batch needs {canonical(amount)}", hint=hint)


def _top_up_hint(provider: Provider, missing: Decimal) -> str:
    if provider.payment.network is None:
        return "top up at the provider, or make the batch smaller"
    return f"orchestrator wallet top-up {canonical(missing)} --network {provider.payment.network}"


def read_balance(provider: Provider) -> Decimal:
    """What the account has, in its unit. Raises Unusable."""
    try:
        return asyncio.run(_balance(provider))
    except ProviderUnavailable as error:
        if error.status in (401, 402, 403):
            raise Unusable(
                f"{provider.base_url} does not accept the credentials ({error.reason})",
                hint=f"check {key_settings(provider.payment)}",
            ) from None
        raise Unusable(
            f"{provider.base_url} cannot be used now ({error.reason})", hint="check KATANA_BASE_URL and the network"
        ) from None


async def _balance(provider: Provider) -> Decimal:
    async with provider.client() as client:
        return await client.balance()
