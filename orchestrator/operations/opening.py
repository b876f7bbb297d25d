"""Opening what it takes to work batches: the provider (real or sandbox), and the engine on top of it."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from orchestrator.assets.client import AssetClient, AssetSource
from orchestrator.base.clock import SYSTEM_CLOCK, Clock
from orchestrator.base.errors import SpendRefused, Unusable
from orchestrator.base.payments import Network, Payment
from orchestrator.base.settings import Settings
from orchestrator.base.urls import is_loopback_url
from orchestrator.catalog.models import Catalog
from orchestrator.chain.chains import Chains, urls_of
from orchestrator.engine.notify import sending_notices
from orchestrator.engine.receipts import Receipts
from orchestrator.engine.runtime import Engine, Limits
from orchestrator.engine.spooling import open_spool
from orchestrator.katana.client import KatanaClient
from orchestrator.notices.client import NoticeClient
from orchestrator.payments.payer import Payer
from orchestrator.payments.payers import configured_payments, payer_for, sandbox_payer
from orchestrator.receipts.book import ReceiptBook
from orchestrator.sandbox import Sandbox, SandboxBusy
from orchestrator.store.accounts import Scope, account_pk, origin_and_account
from orchestrator.store.database import Connection, Database

#: A sandbox that a command brings along is quicker than the provider, so that trying it out is no wait.
SANDBOX_TIME_SCALE = 0.2
#: What a wallet has at such a sandbox without any top-up: nobody could make one there.
SANDBOX_WALLET_USDC = Decimal(1000)
#: The origin of every batch that brings its own sandbox; its port may change from run to run.
SANDBOX_ORIGIN = "sandbox"


@dataclass(frozen=True, slots=True)
class Provider:
    """Where requests go, who pays, and how the chains are asked. A batch is bound to `origin` and `account`.

    `pay_to` is whom payments have to go to; None: to the recipient that is pinned for the origin. Without keys (see
    `keyless`) nothing is paid, and no money in doubt settled.
    """

    base_url: str
    origin: str
    payer: Payer
    base_rpc_url: str = ""
    solana_rpc_url: str = ""
    pay_to: str | None = None
    has_keys: bool = True

    @property
    def account(self) -> str:
        return self.payer.account

    @property
    def payment(self) -> Payment:
        return self.payer.payment

    def account_pk(self, connection: Connection) -> int:
        """The row of its account, made where it is new."""
        return account_pk(connection, self.origin, self.account, self.payment.unit)

    def client(self) -> KatanaClient:
        """Speaks to it for this payer; use it as a context manager."""
        payer = self.payer
        return KatanaClient(self.base_url, payer.headers, proof=payer.proof, balance_of=payer.balance_of)


def provider_for(settings: Settings, payment: Payment) -> Provider:
    """The provider of `settings`, paid this way. Raises Unusable without the key for it, and for a stand-in provider
    whose chain is the real one.
    """
    url = settings.katana_base_url
    payer = payer_for(settings, payment)
    _require_chain_of_stand_in(settings, payment)
    return Provider(url, url, payer, settings.base_rpc_url, settings.solana_rpc_url, pay_to_of(settings, payment))


_RPC_SETTINGS = {Network.BASE: "BASE_RPC_URL", Network.SOLANA: "SOLANA_RPC_URL"}


def _require_chain_of_stand_in(settings: Settings, payment: Payment) -> None:
    """What a wallet's key signs for a provider on this machine would hold on the real chain, for a recipient that
    nobody has a key of, and that chain would be asked about it. Raises Unusable where it is the one that is set.
    """
    network, url = payment.network, settings.katana_base_url
    if network is None or not is_loopback_url(url):
        return
    chain_urls = urls_of(settings.base_rpc_url if network is Network.BASE else settings.solana_rpc_url)
    if not all(is_loopback_url(chain_url) for chain_url in chain_urls):
        name, key = _RPC_SETTINGS[network], _KEY_SETTINGS[network]
        raise Unusable(
            f"KATANA_BASE_URL is a stand-in on this machine, but {name} is the real chain: {key} is not used",
            hint=f"set {name}={url.rstrip('/')}/rpc/{network}, with a key that holds nothing; or KATANA_BASE_URL to "
            "the provider",
        )


def real_provider(settings: Settings) -> Provider:
    """The provider of `settings`, paid in credits. Raises Unusable without credentials."""
    return provider_for(settings, Payment.CREDITS)


def configured_providers(settings: Settings) -> list[Provider]:
    """The provider of `settings` once for each way to pay that there are keys for. Raises Unusable without any."""
    payments = configured_payments(settings)
    if not payments:
        raise Unusable(
            "no credentials, and no wallet's key",
            hint="set KATANA_API_KEY and KATANA_API_SECRET (credits), EVM_PRIVATE_KEY (USDC on Base) or "
            "SVM_PRIVATE_KEY (USDC on Solana), or try it without: --sandbox",
        )
    return [provider_for(settings, payment) for payment in payments]


@contextmanager
def own_sandbox(
    settings: Settings, batch_id: str, catalog: Catalog, payment: Payment = Payment.CREDITS
) -> Iterator[Provider]:
    """The sandbox that belongs to one batch, brought up with the state it had."""
    folder = sandbox_folder(settings.home, batch_id)
    try:
        with Sandbox(
            folder, time_scale=SANDBOX_TIME_SCALE, catalog=catalog, wallet_balance=SANDBOX_WALLET_USDC
        ) as sandbox:
            yield sandbox_provider(batch_id, sandbox.base_url, payment)
    except SandboxBusy:
        raise SpendRefused(
            f"another process already works on the sandbox batch {batch_id}",
            hint=f"watch it: orchestrator watch {batch_id}",
        ) from None


def sandbox_provider(batch_id: str, base_url: str, payment: Payment = Payment.CREDITS) -> Provider:
    """A batch's own sandbox as its provider, under an account that no real one can be mistaken for."""
    payer = sandbox_payer(batch_id, payment)
    return Provider(base_url, SANDBOX_ORIGIN, payer, f"{base_url}/rpc/base", f"{base_url}/rpc/solana")


def sandbox_folder(home: Path, batch_id: str) -> Path:
    """Where the sandbox of a batch keeps its state."""
    return home / "sandbox" / batch_id


@asynccontextmanager
async def open_engine(
    settings: Settings, database: Database, provider: Provider, scope: Scope
) -> AsyncIterator[Engine]:
    """An engine for the work in `scope`, beside which notifications are sent; its leases are let go of at the end."""
    async with (
        provider.client() as client,
        AssetClient(allow_loopback=is_loopback_url(provider.base_url)) as assets,
        Chains(provider.base_rpc_url, provider.solana_rpc_url) as chains,
    ):
        engine = await asyncio.to_thread(
            make_engine,
            settings,
            database,
            client,
            assets,
            scope,
            payer=provider.payer,
            chains=chains,
            pay_to=provider.pay_to,
            has_keys=provider.has_keys,
        )
        # Whoever has no keys may lack the one that notices are signed with, too.
        notices = sending_notices(engine, NoticeClient(settings.webhook_key)) if provider.has_keys else nullcontext()
        try:
            async with notices:
                yield engine
        finally:
            engine.close()


def make_engine(
    settings: Settings,
    database: Database,
    client: KatanaClient,
    assets: AssetSource,
    scope: Scope,
    clock: Clock = SYSTEM_CLOCK,
    *,
    payer: Payer | None = None,
    chains: Chains | None = None,
    pay_to: str | None = None,
    has_keys: bool = True,
) -> Engine:
    """An engine with these ways out, as `settings` want it; `close` it. It reads files and rows: best in a thread.

    Without a `payer` it pays in credits; one that signs payments needs the `chains`, too.
    """
    payment = Payment.CREDITS if payer is None else payer.payment
    spool = open_spool(
        settings.home / "spool", database, cap_bytes=settings.spool_bytes, memory_bytes=settings.copy_memory_bytes
    )
    return Engine(
        database=database,
        client=client,
        assets=assets,
        spool=spool,
        scope=scope,
        limits=Limits(
            max_in_flight=settings.max_in_flight,
            request_lost_after_seconds=settings.request_lost_after,
            stall_after_seconds=settings.stall_after,
        ),
        clock=clock,
        receipts=_receipts(settings, database, scope.account_pk),
        payment=payment,
        wallet=None if payer is None else payer.wallet,
        pay_to=pay_to,
        chains=chains,
        has_keys=has_keys,
    )


def pay_to_of(settings: Settings, payment: Payment) -> str | None:
    """Whom the settings want paid this way; a batch's own sandbox has a recipient of its own."""
    return {Network.BASE: settings.pay_to_base, Network.SOLANA: settings.pay_to_solana, None: None}[payment.network]


def _receipts(settings: Settings, database: Database, account_pk: int) -> Receipts | None:
    """The receipts of an account; a sandbox that a command brings along leaves none."""
    with database.begin() as connection:
        origin, account = origin_and_account(connection, account_pk)
    if origin == SANDBOX_ORIGIN:
        return None
    return Receipts(ReceiptBook(settings.home, origin, account), database, account_pk)


def media_uri(settings: Settings, destination: str) -> str:
    """Where the input media of a batch are kept by content hash (interface "Settings")."""
    if settings.media is not None:
        return settings.media
    if destination.startswith("s3://"):
        return f"{destination.rstrip('/')}/.inputs"
    return str(settings.home / "media")


_KEY_SETTINGS = {
    None: "KATANA_API_KEY and KATANA_API_SECRET",
    Network.BASE: "EVM_PRIVATE_KEY",
    Network.SOLANA: "SVM_PRIVATE_KEY",
}


def key_settings(payment: Payment) -> str:
    """The settings that hold the keys of a way to pay, in words."""
    return _KEY_SETTINGS[payment.network]


def require_same_payer(provider: Provider, *, batch_id: str, origin: str, account: str) -> None:
    """Raises Unusable where a batch belongs to another provider or account than the one at hand."""
    if provider.origin != origin:
        raise Unusable(
            f"batch {batch_id} belongs to the provider {origin}, but KATANA_BASE_URL is {provider.origin}",
            hint=f"set KATANA_BASE_URL={origin}",
        )
    if provider.account == account:
        return
    setting = key_settings(provider.payment)
    if provider.payment is Payment.CREDITS:
        raise Unusable(
            f"batch {batch_id} was paid by another account than the one of KATANA_API_KEY",
            hint=f"set the {setting} it was submitted with",
        )
    raise Unusable(
        f"batch {batch_id} is paid by {account}, but {setting} is the key of {provider.account}",
        hint=f"set {setting} to the key of the wallet it was submitted with",
    )
