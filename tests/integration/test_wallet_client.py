"""A wallet's proofs on the wire: one for each call, by the provider's clock, and once more where it was stale."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import format_datetime

import pytest

from orchestrator.base.clock import SYSTEM_CLOCK
from orchestrator.katana.client import KatanaClient
from orchestrator.katana.line import ProviderUnavailable
from orchestrator.katana.verdict import Kind

ADDRESS = "0xPAYER"
OK = {"request_id": "r-1", "status": "queued"}
STALE = {"error": {"code": "stale_proof", "message": "the proof is stale"}}

Answer = tuple[int, Mapping[str, object], dict[str, str]]
#: The answer to a request line and the issue time of its proof.
Answering = Callable[[str, datetime | None], Answer]


@asynccontextmanager
async def provider(answering: Answering) -> AsyncIterator[str]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
        fields = {name.lower(): value for name, value in fields.items()}
        await reader.readexactly(int(fields.get("content-length", 0)))
        proof = fields.get("x-sign-in-with-x")
        status, document, headers = answering(head.split("\r\n")[0], datetime.fromisoformat(proof) if proof else None)
        body = json.dumps(document).encode()
        lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def prove(now: datetime) -> dict[str, str]:
    return {"X-Sign-In-With-X": now.isoformat()}


def client(url: str) -> KatanaClient:
    return KatanaClient(url, {}, proof=prove, balance_of=ADDRESS)


class Skewed:
    """A provider whose clock is ten minutes ahead, and which takes proofs of the last five."""

    def __init__(self, *, tells_time: bool = True) -> None:
        self.asked: list[str] = []
        self._tells_time = tells_time

    def __call__(self, line: str, issued_at: datetime | None) -> Answer:
        self.asked.append(line)
        now = SYSTEM_CLOCK.now() + timedelta(minutes=10)
        headers = {"Date": format_datetime(now.astimezone(UTC), usegmt=True)} if self._tells_time else {}
        if issued_at is None or abs(now - issued_at) > timedelta(minutes=5):
            return 401, STALE, headers
        return 200, OK | {"balance_usdc": "1.25", "transactions": [{"type": "debit"}]}, headers


async def test_a_stale_proof_is_issued_anew_by_the_providers_clock() -> None:
    skewed = Skewed()
    async with provider(skewed) as url, client(url) as katana:
        assert (await katana.submit(b"{}")).kind is Kind.ACCEPTED
        assert len(skewed.asked) == 2
        assert (await katana.submit(b"{}")).kind is Kind.ACCEPTED
        assert len(skewed.asked) == 3, "what was learned of the clock is kept"


async def test_reads_are_proven_too() -> None:
    skewed = Skewed()
    async with provider(skewed) as url, client(url) as katana:
        assert await katana.balance() == Decimal("1.25")
        assert [entry.type for entry in await katana.transactions(ADDRESS)] == ["debit"]
    assert skewed.asked[-1].startswith(f"GET /v1/x402/transactions/{ADDRESS} ")
    assert len(skewed.asked) == 3


async def test_a_proof_is_issued_anew_only_once() -> None:
    skewed = Skewed(tells_time=False)
    async with provider(skewed) as url, client(url) as katana:
        verdict = await katana.submit(b"{}")
        assert (verdict.kind, verdict.status) == (Kind.REFUSED, 401)
        with pytest.raises(ProviderUnavailable, match="stale"):
            await katana.balance()
    assert len(skewed.asked) == 4


async def test_what_the_balance_lacks_is_told() -> None:
    option = {
        "scheme": "exact",
        "network": "eip155:8453",
        "asset": "0xUSDC",
        "payTo": "0xYOU",
        "amount": "50000",
        "maxTimeoutSeconds": 3600,
    }
    required = base64.b64encode(json.dumps({"x402Version": 2, "accepts": [option]}).encode()).decode()
    async with (
        provider(lambda *_: (402, {"error": "Payment required"}, {"PAYMENT-REQUIRED": required})) as url,
        client(url) as katana,
    ):
        verdict = await katana.submit(b"{}")
    assert verdict.kind is Kind.REFUSED
    assert [offer.amount for offer in verdict.offers] == [50000]


@pytest.mark.parametrize(
    ("status", "document", "is_final"),
    [
        (200, {"credited_usdc": "1.00", "balance_usdc": "3"}, True),
        (200, {"status": "ok"}, False),
        (402, {"credited_usdc": "1.00"}, False),
        (500, {"error": {"message": "no"}}, False),
    ],
)
async def test_only_a_told_credit_is_final(status: int, document: dict[str, object], is_final: bool) -> None:
    async with provider(lambda *_: (status, document, {})) as url, client(url) as katana:
        topped_up = await katana.top_up(b'{"amount_usdc":"1"}', payment="signed")
    assert (topped_up.answer is not None) == is_final
