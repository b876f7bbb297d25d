"""The provider in the simulation: the sandbox's own applications on a virtual loop, without sockets."""

import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from aiohttp import HttpVersion11, web
from aiohttp.http_parser import RawRequestMessage
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from orchestrator.base.money import ZERO
from orchestrator.base.payments import Network, to_atomic
from orchestrator.catalog.models import Catalog
from orchestrator.sandbox import Ways
from orchestrator.sandbox.accounts import Accounts
from orchestrator.sandbox.asset_urls import AssetUrls
from orchestrator.sandbox.book import Book, Entry
from orchestrator.sandbox.customers import Unit, unit_of
from orchestrator.sandbox.faults import FaultPlayer, FaultRule, Faults
from orchestrator.sandbox.intake import Pace
from orchestrator.sandbox.provider import Provider
from orchestrator.sandbox.records import AccountSeen, Charged, PaymentSettled, Settlement
from orchestrator.sandbox.sites import api_application, asset_application

from .files import draw
from .virtual import VirtualClock, VirtualLoop

API_ORIGIN = "https://provider.test"
RPC_BASE, RPC_SOLANA = f"{API_ORIGIN}/rpc/base", f"{API_ORIGIN}/rpc/solana"
#: What someone else buys from the same wallet, and the nonces of top-ups that are no command of ours.
_OTHERS = "a thing of someone else"
ASSET_ORIGIN = "https://assets.test"


@dataclass(frozen=True, slots=True)
class Call:
    """A request as it arrives."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Reply:
    """A response as it leaves; `breaks_off`: the connection is closed before all that was announced has come."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    breaks_off: bool = False


#: What became of a call: a reply, or None where the connection was closed without one.
Deliver = Callable[[Reply | None], None]


class _Line:
    """The connection behind a request, as far as the sandbox's faults touch it."""

    ssl_context = peername = sockname = None

    def __init__(self) -> None:
        self.written = b""
        self.is_closed = False
        self.transport = self

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None:
        self.is_closed = True


class ProviderSite:
    """The provider; it lives on whatever happens to those who call it."""

    def __init__(
        self,
        clock: VirtualClock,
        dice: random.Random,
        folder: Path,
        *,
        catalog: Catalog,
        balance: Decimal,
        unit: Unit,
        ways: Ways,
        pace: Pace,
        rules: tuple[FaultRule, ...],
    ) -> None:
        self._clock = clock
        #: How often each fault struck, once there are no more.
        self.struck: Counter[str] = Counter()
        self.book = Book(folder / "journal.jsonl")
        self.book.open(clock.unix(), new_url_key="simulation")
        self.loop = VirtualLoop(clock, dice)
        self.provider = Provider(
            catalog=catalog,
            book=self.book,
            accounts=Accounts(),
            opening_balance=balance if unit == "credits" else ZERO,
            opening_usdc=balance if unit == "usdc" else ZERO,
            ways=ways,
            pace=pace,
            urls=AssetUrls(ASSET_ORIGIN, self.book.url_key),
            faults=FaultPlayer(Faults(rules=rules)),
            clock=clock.unix,
        )
        self._applications = _applications(self.provider)

    def arrive(self, call: Call, deliver: Deliver) -> None:
        """Work on a call from now on; `deliver` is told the outcome when there is one."""
        self.loop.create_task(self._serve(call, deliver))

    def entries(self) -> list[Entry]:
        """What was charged and given back for our jobs."""
        return [entry for entry in self.book.entries(self._clock.unix()) if entry.prompt != _OTHERS]

    def settlements(self) -> list[Settlement]:
        """Our signed payments that have settled up to now."""
        now, taken = self._clock.unix(), self.book.settlements.all()
        return [paid.payment for paid in taken if paid.payment.at <= now and not paid.payment.nonce.startswith(_OTHERS)]

    def behave(self) -> None:
        """No more faults, and what is accepted from now on is made at the usual pace."""
        for rule in self.provider.faults.document():
            self.struck[f"{rule['at']} {rule['kind']}"] += int(str(rule["struck"]))
        self.provider.faults.play(Faults())
        self.provider = replace(self.provider, pace=Pace(1.0, self.provider.pace.asset_lifetime_seconds))
        self._applications = _applications(self.provider)

    def top_up(self, account: str, amount: Decimal) -> None:
        """What someone puts into the account, in its unit; less than none: that someone else spends."""
        if unit_of(account) == "usdc":
            self._move_usdc(account, amount)
            return
        funds = self.book._funds.get(account, self.provider.opening_balance)
        self.book.record(
            AccountSeen(at=self._clock.unix(), account=account, opening_balance=max(funds + amount, Decimal(0)))
        )

    def _move_usdc(self, account: str, amount: Decimal) -> None:
        """As a top-up or a debit, so that the list of the wallet's transactions still adds up."""
        now, name = self._clock.unix(), f"{_OTHERS} {len(self.book.settlements.all())}"
        if amount < 0:
            spent = min(-amount, self.book.balance(account, now))
            charge = Charged(
                at=now, charge_id=name, account=account, amount=spent, model="m", prompt=_OTHERS, body_sha256=""
            )
            self.book.record(charge)
            return
        _, network, address = account.split(":")
        paid = Settlement(
            at=now,
            network=Network(network),
            payer=address,
            amount=to_atomic(amount),
            nonce=name,
            transaction=name,
            path="",
            body_sha256="",
        )
        self.book.record(PaymentSettled(at=now, payment=paid, credited=amount))

    def close(self) -> None:
        self.loop.bury()
        self.book.close()

    async def _serve(self, call: Call, deliver: Deliver) -> None:
        url = URL(call.url, encoded=True)
        line = _Line()
        request = _request(call, url, line, self.loop)
        response = await self._applications[str(url.origin())]._handle(request)
        deliver(_cut(line.written) if line.written else None if line.is_closed else _reply(response))


def _applications(provider: Provider) -> dict[str, web.Application]:
    """What answers at each origin."""
    found = {API_ORIGIN: api_application(provider), ASSET_ORIGIN: asset_application(provider, draw)}
    for application in found.values():
        application.freeze()
    return found


def _request(call: Call, url: URL, line: _Line, loop: VirtualLoop) -> web.Request:
    headers = CIMultiDictProxy(CIMultiDict(call.headers))
    message = RawRequestMessage(
        call.method, url.raw_path_qs, HttpVersion11, headers, (), False, None, False, False, url.relative()
    )
    stand_in: Any = SimpleNamespace()
    protocol: Any = line
    request = web.Request(message, stand_in, protocol, stand_in, stand_in, loop, client_max_size=1 << 30)
    request._read_bytes = call.body
    return request


def _reply(response: web.StreamResponse) -> Reply:
    assert isinstance(response, web.Response)
    body = response.body
    return Reply(response.status, dict(response.headers), body if isinstance(body, bytes) else b"")


def _cut(written: bytes) -> Reply:
    """What was written by hand before the line was closed: half a body, with its whole length announced or not."""
    head, _, body = written.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines[1:])
    return Reply(int(lines[0].split()[1]), headers, body, breaks_off="Content-Length" in headers)


def later(loop: VirtualLoop, seconds: float, call: Callable[..., None], *args: Any) -> None:
    """Have another process do something, which takes a message `seconds` to get there."""
    if not loop.is_killed:
        loop.call_later(seconds, partial(call, *args))
