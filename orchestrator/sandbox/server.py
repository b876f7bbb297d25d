"""The sandbox as its users see it: started and stopped in-process or in the foreground, with its state in a folder."""

import logging
import secrets
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from types import FrameType
from typing import Self

from filelock import FileLock, Timeout

from orchestrator.catalog.bundled import bundled_catalog
from orchestrator.catalog.models import Catalog
from orchestrator.sandbox.accounts import Accounts
from orchestrator.sandbox.asset_urls import AssetUrls
from orchestrator.sandbox.book import Book, Entry
from orchestrator.sandbox.cashier import Ways
from orchestrator.sandbox.faults import FaultPlayer, Faults
from orchestrator.sandbox.intake import Pace
from orchestrator.sandbox.ports import bind
from orchestrator.sandbox.provider import Provider
from orchestrator.sandbox.settlements import Paid
from orchestrator.sandbox.sites import Sites

_NO_FAULTS = Faults()
_OPENING_BALANCE = Decimal(100_000)
_ASSET_LIFETIME_SECONDS = 72 * 3600.0
_log = logging.getLogger(__name__)


class SandboxBusy(Exception):
    """Another process already runs a sandbox on this state folder."""


class Sandbox:
    """The stand-in provider on loopback, with all its state in `state_dir`.

    `port` is the API's (0: the one of last time when it is free, else any free one); assets have a port of their own.
    `time_scale` stretches every waiting time, `balance` is what each new account starts with, in credits, and
    `accounts` maps keys to secrets (None: any non-empty pair is an account); `ways` is what the guide leaves open. Use
    it as a context manager, or `start` and `stop` it; after a SIGKILL the next start goes on where the last one was.
    """

    def __init__(
        self,
        state_dir: Path,
        *,
        port: int = 0,
        time_scale: float = 1.0,
        balance: Decimal = _OPENING_BALANCE,
        faults: Faults = _NO_FAULTS,
        accounts: Mapping[str, str] | None = None,
        asset_lifetime_seconds: float = _ASSET_LIFETIME_SECONDS,
        catalog: Catalog | None = None,
        clock: Callable[[], float] = time.time,
        ways: Ways | None = None,
        wallet_balance: Decimal = Decimal(0),
    ) -> None:
        self._state_dir = state_dir
        self._port = port
        self._pace = Pace(time_scale, asset_lifetime_seconds)
        self._balance = balance
        self._wallet_balance = wallet_balance
        self._accounts = Accounts(accounts)
        self._catalog = catalog or bundled_catalog()
        self._clock = clock
        self._faults = FaultPlayer(faults)
        self._ways = ways or Ways()
        self._lock = FileLock(state_dir / "lock", thread_local=False)
        self._sites: Sites | None = None

    def start(self) -> Self:
        """Serves from now on; returns when both ports answer.

        Raises SandboxBusy, JournalCorrupt, or OSError when a port that was asked for is taken.
        """
        self._state_dir.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise SandboxBusy(f"another sandbox runs on {self._state_dir}") from None
        book = Book(self._state_dir / "journal.jsonl")
        try:
            book.open(self._clock(), new_url_key=secrets.token_hex(16))
            self._sites = self._serve(book)
        except BaseException:
            book.close()
            self._lock.release()
            raise
        _log.info("sandbox: API on %s, assets on %s, state in %s", self.base_url, self.asset_url, self._state_dir)
        return self

    def stop(self) -> None:
        """Closes the ports and the journal; nothing is lost. Does nothing when it is not running."""
        if self._sites is None:
            return
        self._sites.stop()
        self._sites.provider.book.close()
        self._sites = None
        self._lock.release()
        _log.info("sandbox: stopped")

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def base_url(self) -> str:
        """The API's origin, for `KATANA_BASE_URL`."""
        return self._serving.listeners.base_url

    @property
    def asset_url(self) -> str:
        """The origin that assets are downloaded from."""
        return self._serving.listeners.asset_url

    def ledger(self) -> list[Entry]:
        """Every charge and refund up to now, in order of time."""
        return self._serving.provider.book.entries(self._clock())

    def charges(self) -> list[Entry]:
        """The charges alone: one for each item that was ever accepted."""
        return [entry for entry in self.ledger() if entry.kind == "charge"]

    def balances(self) -> dict[str, Decimal]:
        """Each account's credits now."""
        return self._serving.provider.book.balances(self._clock())

    def usdc_balances(self) -> dict[str, Decimal]:
        """What each wallet has topped up and not spent, by `wallet:<network>:<address>`."""
        return self._serving.provider.book.balances(self._clock(), "usdc")

    def payments(self) -> list[Paid]:
        """Every payment that was taken, and what became of it, oldest first."""
        return self._serving.provider.book.settlements.all()

    def top_up(self, account: str, credit_amount: Decimal) -> None:
        """Puts credits into an account."""
        self._serving.provider.top_up(account, credit_amount)

    def play(self, faults: Faults) -> None:
        """Replaces the faults in force."""
        self._faults.play(faults)

    @property
    def _serving(self) -> Sites:
        if self._sites is None:
            raise RuntimeError("the sandbox is not running")
        return self._sites

    def _serve(self, book: Book) -> Sites:
        listeners = bind(self._state_dir, self._port)
        provider = Provider(
            catalog=self._catalog,
            book=book,
            accounts=self._accounts,
            opening_balance=self._balance,
            pace=self._pace,
            urls=AssetUrls(listeners.asset_url, book.url_key),
            faults=self._faults,
            clock=self._clock,
            ways=self._ways,
            opening_usdc=self._wallet_balance,
        )
        return Sites(provider, listeners)


def serve_forever(sandbox: Sandbox) -> None:
    """Runs a sandbox in the foreground until SIGINT or SIGTERM; its addresses go to stderr. Main thread only."""
    stopped = threading.Event()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        stopped.set()

    previous = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with sandbox:
            _say(f"API on {sandbox.base_url}, assets on {sandbox.asset_url}")
            stopped.wait()
            _say("stopping")
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _say(line: str) -> None:
    print(f"sandbox: {line}", file=sys.stderr, flush=True)
