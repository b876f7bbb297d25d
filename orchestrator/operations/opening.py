"""Opening what it takes to work batches: the provider (real or sandbox), and the engine on top of it."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from orchestrator.assets.client import AssetClient, AssetSource
from orchestrator.assets.spool import Spool
from orchestrator.base.clock import SYSTEM_CLOCK, Clock
from orchestrator.base.errors import SpendRefused, Unusable
from orchestrator.base.settings import Settings, is_loopback_url
from orchestrator.catalog.models import Catalog
from orchestrator.engine.notify import sending_notices
from orchestrator.engine.receipts import Receipts
from orchestrator.engine.runtime import Engine, Limits
from orchestrator.katana.client import KatanaClient
from orchestrator.notices.client import NoticeClient
from orchestrator.payments.credits import credits_payer, payer_of
from orchestrator.payments.payer import Payer
from orchestrator.receipts.book import ReceiptBook
from orchestrator.sandbox import Sandbox, SandboxBusy
from orchestrator.store.accounts import Scope, origin_and_account
from orchestrator.store.database import Database

#: A sandbox that a command brings along is quicker than the provider, so that trying it out is no wait.
SANDBOX_TIME_SCALE = 0.2
#: The origin of every batch that brings its own sandbox; its port may change from run to run.
SANDBOX_ORIGIN = "sandbox"


@dataclass(frozen=True, slots=True)
class Provider:
    """Where requests go and who pays. `origin` and `account` are what a batch is bound to."""

    base_url: str
    origin: str
    payer: Payer

    @property
    def account(self) -> str:
        return self.payer.account

    def client(self) -> KatanaClient:
        """Speaks to it for this payer; use it as a context manager."""
        payer = self.payer
        return KatanaClient(self.base_url, payer.headers, proof=payer.proof, balance_of=payer.balance_of)


def real_provider(settings: Settings) -> Provider:
    """The provider and account of `settings`. Raises Unusable without credentials."""
    return Provider(settings.katana_base_url, settings.katana_base_url, credits_payer(settings))


@contextmanager
def own_sandbox(settings: Settings, batch_id: str, catalog: Catalog) -> Iterator[Provider]:
    """The sandbox that belongs to one batch, brought up with the state it had."""
    folder = sandbox_folder(settings.home, batch_id)
    try:
        with Sandbox(folder, time_scale=SANDBOX_TIME_SCALE, catalog=catalog) as sandbox:
            yield sandbox_provider(batch_id, sandbox.base_url)
    except SandboxBusy:
        raise SpendRefused(
            f"another process already works on the sandbox batch {batch_id}",
            hint=f"watch it: orchestrator watch {batch_id}",
        ) from None


def sandbox_provider(batch_id: str, base_url: str) -> Provider:
    """A batch's own sandbox as its provider, under an account that no real one can be mistaken for."""
    return Provider(base_url, SANDBOX_ORIGIN, Payer(f"sandbox:{batch_id}", payer_of("sandbox", "sandbox").headers))


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
    ):
        engine = await asyncio.to_thread(make_engine, settings, database, client, assets, scope)
        try:
            async with sending_notices(engine, NoticeClient(settings.webhook_key)):
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
) -> Engine:
    """An engine with these ways out, as `settings` want it; `close` it. It reads files and rows: best in a thread."""
    spool = Spool(settings.home / "spool", cap_bytes=settings.spool_bytes)
    spool.sweep()
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
    )


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


def require_same_payer(provider: Provider, *, batch_id: str, origin: str, account: str) -> None:
    """Raises Unusable where a batch belongs to another provider or account than the one at hand."""
    if provider.origin != origin:
        raise Unusable(
            f"batch {batch_id} belongs to the provider {origin}, but KATANA_BASE_URL is {provider.origin}",
            hint=f"set KATANA_BASE_URL={origin}",
        )
    if provider.account != account:
        raise Unusable(
            f"batch {batch_id} was paid by another account than the one of KATANA_API_KEY",
            hint="set the KATANA_API_KEY and KATANA_API_SECRET it was submitted with",
        )
