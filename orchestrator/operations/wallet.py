"""A wallet's balance at the provider: topped up, read, and told movement by movement."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any, Concatenate, ParamSpec, TypeVar

from orchestrator.base.clock import rfc3339
from orchestrator.base.errors import Unusable
from orchestrator.base.money import canonical, optional_canonical
from orchestrator.base.payments import Network, Payment
from orchestrator.base.settings import Settings
from orchestrator.chain.chains import Chains
from orchestrator.engine.receipts import Receipts
from orchestrator.engine.top_up import Till
from orchestrator.katana.line import ProviderUnavailable
from orchestrator.operations.database import open_database, patiently
from orchestrator.operations.opening import Provider, provider_for
from orchestrator.operations.topping_up import Agree, Tell, ToppedUp, go_on_with_earlier, note_told, settle_or_sign
from orchestrator.receipts.book import ReceiptBook
from orchestrator.store.database import Connection, Database

P = ParamSpec("P")
T = TypeVar("T")
#: So long a command waits for a top-up that it was not asked for.
_GLANCE_SECONDS = 10.0


def default_network(settings: Settings) -> Network:
    """Base, unless Solana's is the only key that is set (guide, "x402 details": Base is the default choice)."""
    return Network.SOLANA if settings.svm_private_key and not settings.evm_private_key else Network.BASE


def top_up(
    settings: Settings,
    network: Network,
    amount: Decimal,
    *,
    is_another: bool,
    agree: Agree,
    tell: Tell,
    report: Callable[[ToppedUp], None],
) -> ToppedUp | None:
    """Put USDC from a wallet into its balance at the provider. None: `agree` said no, and nothing was signed.

    One that an earlier command signed, and that may still settle or was not reported, is settled and reported instead:
    of what has settled `is_another` signs another one all the same. What is credited counts as told once `report` has
    returned. Raises SpendRefused, Unusable.
    """

    async def topping_up(database: Database) -> ToppedUp | None:
        async with _open_till(settings, database, network) as (till, provider):
            done = await settle_or_sign(till, provider, amount, agree, tell, is_another=is_another)
            if done is not None:
                report(done)
                if done.is_credited:
                    await note_told(till, done.top_up)
            return done

    with open_database(settings) as database:
        return asyncio.run(topping_up(database))


def balance(settings: Settings, network: Network, *, tell: Tell) -> dict[str, Any]:
    """The USDC that a wallet has at the provider. Raises Unusable."""

    async def read(till: Till) -> dict[str, Any]:
        has = await till.client.wallet_balance(till.wallet.address)
        return {"network": network, "wallet": till.wallet.address, "usdc": canonical(has)}

    return _read(settings, network, read, tell)


def transactions(settings: Settings, network: Network, *, tell: Tell) -> dict[str, Any]:
    """What moved the balance of a wallet at the provider, in the provider's order. Raises Unusable."""

    async def read(till: Till) -> dict[str, Any]:
        told = await till.client.transactions(till.wallet.address)
        entries = [
            {
                "id": entry.id,
                "type": entry.type,
                "usdc": optional_canonical(entry.amount),
                "request_id": entry.request_id,
                "at": None if entry.created_at is None else rfc3339(entry.created_at),
                "transaction": entry.transaction,
            }
            for entry in told
        ]
        return {"network": network, "wallet": till.wallet.address, "transactions": entries}

    return _read(settings, network, read, tell)


def _read(settings: Settings, network: Network, read: Callable[[Till], Any], tell: Tell) -> dict[str, Any]:
    async def reading(database: Database) -> dict[str, Any]:
        async with _open_till(settings, database, network) as (till, provider):
            await go_on_with_earlier(till, tell, seconds=_GLANCE_SECONDS)
            try:
                document: dict[str, Any] = await read(till)
            except ProviderUnavailable as error:
                raise Unusable(
                    f"{provider.base_url} does not tell about the wallet ({error.reason})",
                    hint="check KATANA_BASE_URL, the network, and this machine's clock",
                ) from None
            return document

    with open_database(settings) as database:
        return asyncio.run(reading(database))


@asynccontextmanager
async def _open_till(settings: Settings, database: Database, network: Network) -> AsyncIterator[tuple[Till, Provider]]:
    provider = provider_for(settings, Payment(f"wallet-{network}"))
    wallet = provider.payer.wallet
    assert wallet is not None

    async def transact(work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.to_thread(patiently, database, lambda connection: work(connection, *args, **kwargs))

    async with provider.client() as client, Chains(provider.base_rpc_url, provider.solana_rpc_url) as chains:
        account_pk = await transact(provider.account_pk)
        receipts = Receipts(ReceiptBook(settings.home, provider.origin, provider.account), database, account_pk)
        await asyncio.to_thread(receipts.take_over_top_ups)
        pay_to = settings.pay_to_base if network is Network.BASE else settings.pay_to_solana
        till = Till(client, chains, wallet, transact, provider.origin, account_pk, pay_to, receipts=receipts)
        yield till, provider
