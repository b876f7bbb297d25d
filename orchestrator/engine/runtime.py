"""What every step works with: the store, the provider, the places files go, and whose work it is."""

import asyncio
import functools
import itertools
import logging
import math
import threading
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Concatenate, ParamSpec, TypeVar, cast
from uuid import UUID, uuid4

from orchestrator.assets.client import AssetSource
from orchestrator.assets.destination import Destination, open_destination
from orchestrator.assets.errors import DestinationFailed
from orchestrator.assets.media import MediaStore, StoredResults
from orchestrator.assets.spool import Spool
from orchestrator.base.clock import SYSTEM_CLOCK, Clock
from orchestrator.base.errors import Unusable
from orchestrator.base.logs import LogEvent, as_event
from orchestrator.base.payments import Payment
from orchestrator.chain.chains import Chains
from orchestrator.engine.deadlines import CopyPace
from orchestrator.engine.group_commit import GroupCommit
from orchestrator.engine.poll_times import PollTimes
from orchestrator.engine.receipts import Receipts
from orchestrator.engine.streaks import Streaks
from orchestrator.katana.client import KatanaClient
from orchestrator.katana.wallet_wire import WalletTransaction
from orchestrator.payments.wallet import Wallet
from orchestrator.receipts.receipt import Receipt
from orchestrator.store.accounts import Scope
from orchestrator.store.database import Connection, Database, OutOfReach
from orchestrator.store.leases import Lease, WorkerSession

log = logging.getLogger("orchestrator.engine")
P = ParamSpec("P")
T = TypeVar("T")
Item = TypeVar("Item")
R = TypeVar("R")
#: Jobs whose files are stored at once.
COPY_SLOTS = 64
_STORE_THREADS = 8
_FILE_THREADS = 12
_OUTAGE_PAUSE_SECONDS = 0.5
_OUTAGE_TOLD_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What bounds the work; see interface "Settings"."""

    max_in_flight: int = 64
    request_lost_after_seconds: float = 900
    stall_after_seconds: float = 300


@dataclass
class Engine:
    """The parts a step needs. Made once a process, after any fork, and used on one event loop."""

    database: Database
    client: KatanaClient
    assets: AssetSource
    spool: Spool
    scope: Scope
    limits: Limits = field(default_factory=Limits)
    clock: Clock = SYSTEM_CLOCK
    #: None where nothing is paid: for a sandbox that a command brings along.
    receipts: Receipts | None = None
    #: How the account pays; where each request carries a signed payment, with which wallet, and whom (None: whoever is
    #: pinned for the origin). The chains tell what became of a payment whose answer was lost.
    payment: Payment = Payment.CREDITS
    wallet: Wallet | None = None
    pay_to: str | None = None
    chains: Chains | None = None
    #: Whether the account's keys are here: else only what needs none is done.
    has_keys: bool = True

    def __post_init__(self) -> None:
        keys_of = self.scope.account_pk if self.has_keys else None
        self._session = WorkerSession(self.database, keys_of=keys_of, monotonic=self.clock.monotonic)
        #: The connection of the session in which the database was last held against its receipts.
        self._compared_in = 0
        self._session_lock = threading.Lock()
        self._group_commits: dict[Callable[..., Any], GroupCommit[Any, Any]] = {}
        self._threads = ThreadPoolExecutor(_STORE_THREADS, thread_name_prefix="store")
        self._file_threads = ThreadPoolExecutor(_FILE_THREADS, thread_name_prefix="files")
        self._destinations: dict[str, Destination] = {}
        self._media: dict[str, MediaStore] = {}
        self._results = StoredResults()
        self._outage_told_at = -_OUTAGE_TOLD_SECONDS
        #: Set when we are asked to stop: nothing is sent from then on.
        self.stopping = False
        #: That the destination of a batch fails.
        self.failing = Streaks[str](self.clock.monotonic)
        #: When (monotonic seconds) what is at stake in such a batch was last looked at, and told.
        self.stake_looked_at: dict[str, float] = {}
        self.stake_told_at: dict[str, float] = {}
        #: What copies take here, and when (monotonic) to look next whether they are too slow.
        self.copy_pace = CopyPace(COPY_SLOTS)
        #: When to ask about what, from what was done lately.
        self.poll_times = PollTimes(self.clock.monotonic)
        self.next_deadlines_at = 0.0
        #: How often a job (by its row) had a file that was not whole, or led where we never connect to.
        self.useless_tries = Streaks[int](self.clock.monotonic)
        #: How often we stumbled, by a fault of ours, over a job (by its row) that was to be sent.
        self.send_faults = Streaks[int](self.clock.monotonic)
        #: That the input media of a batch cannot be read.
        self.media_failing = Streaks[str](self.clock.monotonic)
        #: When (monotonic seconds) the account was last locked to claim jobs of it.
        self.claimed_at = -math.inf
        #: When (monotonic seconds) the balance may be read as a baseline, and money in doubt looked at, next.
        self.next_baseline_at = 0.0
        self.next_evidence_at = 0.0
        self.next_transactions_at = 0.0
        #: Since when the list of a wallet's transactions has named no charge for a submission in doubt.
        self.uncharged_since: dict[UUID, datetime] = {}
        #: That list as it was read last, while something is in doubt; None where it could not be read.
        self.transactions: Sequence[WalletTransaction] | None = None
        #: Held while a payment is the first to its recipient, and may make its account on Solana.
        self.first_payment = asyncio.Lock()
        #: Readings of the balance in a row that did not work, and whether the next one decides.
        self.failed_readings = 0
        self.is_gathering_evidence = False

    def close(self) -> None:
        """Let go of leases and threads; what is still open is taken up by the next worker."""
        self._threads.shutdown(wait=True)
        self._file_threads.shutdown(wait=False, cancel_futures=True)
        self._session.close()

    async def transact(self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work(connection, ...)` in one transaction; an outage of the database is waited out.

        `work` may run again after an outage, also where its commit had happened: it must be guarded so that
        repeating it changes nothing. Every transition of the store is.
        """

        return await self._outlasting(self._transaction(work, *args, **kwargs), even_when_stopping=False)

    async def persist(self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`transact` for what must not be lost: it waits for the database even when we are asked to stop."""

        return await self._outlasting(self._transaction(work, *args, **kwargs), even_when_stopping=True)

    def _transaction(
        self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> Callable[[], T]:
        def transaction() -> T:
            with self.database.begin() as connection:
                return work(connection, *args, **kwargs)

        return transaction

    async def owner(self) -> int:
        """The number under which this process leases work."""

        def ensure() -> int:
            with self._session_lock:
                return self._session.ensure()

        return await self._outlasting(ensure, even_when_stopping=False)

    async def claim(self, work: Callable[..., T], *, seconds: float, **options: Any) -> T:
        """Run `work(connection, scope, lease=..., **options)` in a transaction, like `transact`; the lease is ours."""
        token, tries = uuid4(), itertools.count()

        def claim() -> T:
            with self._session_lock:
                owner = self._session.ensure()
            with self.database.begin() as connection:
                lease = Lease(token, owner, seconds, is_new=next(tries) == 0)
                return work(connection, self.scope, lease=lease, **options)

        return await self._outlasting(claim, even_when_stopping=False)

    async def compare_receipts(self) -> None:
        """Look again whether the database knows what was bought, and hear late answers. Raises Unusable."""

        def compare() -> None:
            with self._session_lock:
                self._compare()

        await self._outlasting(compare, even_when_stopping=False)

    def _compare(self) -> None:
        self._compared_in = 0
        if self.receipts is not None:
            self.receipts.bring_up_to_date()
        self._compared_in = self._session.connected

    async def require_known(self) -> None:
        """Raises Unusable where the database is behind its receipts: nothing more may be bought then.

        It is looked at in each new session, since a backup may have been put back meanwhile. What is known to be paid
        for is still fetched.
        """

        def look() -> None:
            with self._session_lock:
                self._session.ensure()
                if self._session.connected != self._compared_in:
                    self._compare()

        if self.receipts is not None:
            await self._outlasting(look, even_when_stopping=False)

    async def may_buy(self) -> bool:
        """Whether a receipt can be left of what is bought; else nothing may be. Raises as `require_known`."""
        await self.require_known()
        return self.receipts is None or await self._outlasting(self.receipts.can_be_kept, even_when_stopping=False)

    async def keep_receipts(self, *receipts: Receipt) -> bool:
        """Leave receipts: before the bytes leave, and before an answer is committed. False: they cannot be written."""
        if self.receipts is None or not receipts:
            return True
        return await self._outlasting(functools.partial(self.receipts.keep, *receipts), even_when_stopping=True)

    async def together(self, work: Callable[["Engine", list[Item]], Awaitable[Sequence[R]]], item: Item) -> R:
        """Do `work(engine, items)` for this item and for those that come at the same time; see GroupCommit."""
        if work not in self._group_commits:
            self._group_commits[work] = GroupCommit(functools.partial(work, self))
        return cast(R, await self._group_commits[work].add(item))

    async def in_file_thread(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run work on files and buckets in threads of its own: one that hangs there holds up no payment."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._file_threads, functools.partial(call, *args, **kwargs))

    async def _outlasting(self, call: Callable[[], T], *, even_when_stopping: bool) -> T:
        loop = asyncio.get_running_loop()
        while True:
            try:
                return await loop.run_in_executor(self._threads, call)
            except OutOfReach:
                if self.stopping and not even_when_stopping:
                    raise
                log.warning(
                    "the database is out of reach; trying again", extra=as_event(LogEvent.DATABASE_OUT_OF_REACH)
                )
                await asyncio.sleep(_OUTAGE_PAUSE_SECONDS)
                await loop.run_in_executor(self._threads, self.database.recover)

    def note_outage(self, reason: str) -> None:
        """Say, once a minute, that the provider cannot be reached."""
        self.note_wait(f"the provider does not answer ({reason}); waiting for it")

    def note_wait(self, words: str) -> None:
        """Say, once a minute, what is waited for: a run that waits must not look as if it hung."""
        now = self.clock.monotonic()
        if now - self._outage_told_at >= _OUTAGE_TOLD_SECONDS:
            self._outage_told_at = now
            log.warning("%s", words)

    def destination(self, uri: str) -> Destination:
        """The opened destination of a batch. Raises DestinationFailed."""
        if uri not in self._destinations:
            self._destinations[uri] = _opened(uri)
        return self._destinations[uri]

    def read_media(self, media: str, sha256: str, stored_at: str | None) -> bytes:
        """An input file by its hash: from a batch's media store, or another job's result. Raises AssetError."""
        if stored_at is not None:
            return self._results.read(stored_at, sha256)
        if media not in self._media:
            self._media[media] = MediaStore(_opened(media))
        return self._media[media].read(sha256)


def _opened(uri: str) -> Destination:
    """One batch's destination that cannot be opened is that batch's trouble alone, like one that does not answer."""
    try:
        return open_destination(uri)
    except Unusable as error:
        raise DestinationFailed(error.message, hint=error.hint) from None
