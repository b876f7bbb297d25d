"""The first payee: whom the provider tells beside its offers, else nobody is pinned."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from orchestrator.base.payments import Payment
from orchestrator.sandbox import FaultRule, Sandbox
from orchestrator.store.database import Database

from .engine_site import make_site
from .test_x402_direct import Shop


@pytest.fixture
def shop(tmp_path: Path, database: Database, database_url: str) -> Iterator[Shop]:
    with Sandbox(tmp_path / "sandbox", time_scale=0.02) as sandbox:
        site = make_site(tmp_path, sandbox, database, database_url)
        yield Shop(site.folder, site.sandbox, site.database, site.settings)


def pinned(shop: Shop) -> list[str]:
    with shop.database.begin() as connection:
        return list(connection.execute(text("SELECT address FROM payee")).scalars())


async def test_a_first_offer_for_somebody_else_pins_nobody(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    scope = shop.make_batch(4)
    shop.play(FaultRule(at="offer", kind="pay-to", times=None))
    assert (await shop.run(scope))["state"] == "held"
    assert "GET /v1/x402 tells 0x" in shop.holds()["payment-refused"]
    assert (shop.rows(), pinned(shop)) == ([], [])
    assert caplog.text.count("nothing was signed") == 1, "said once, by however many jobs at once"
    shop.play()
    assert (await shop.resume(scope))["state"] == "completed"
    assert len(pinned(shop)) == 1
    assert caplog.text.count("it is pinned") == 1, "said once, by however many jobs at once"
    shop.check()


@pytest.mark.parametrize("payment", [Payment.X402_BASE, Payment.X402_SOLANA])
async def test_the_first_payment_goes_alone(shop: Shop, payment: Payment) -> None:
    """Until it is answered, no more than it is at stake."""
    shop.payment = payment
    scope = shop.make_batch(4)
    shop.play(FaultRule(at="submit", kind="slow", seconds=2, times=1))
    running = asyncio.create_task(shop.run(scope))
    while not pinned(shop):  # noqa: ASYNC110 - it is in the database
        await asyncio.sleep(0.02)
    await asyncio.sleep(1)
    assert [row.state for row in shop.rows()] == ["signed"]
    assert (await running)["state"] == "completed"
    shop.check()


async def test_where_it_is_not_told_the_first_offer_is_believed(shop: Shop) -> None:
    scope = shop.make_batch(1)
    shop.play(FaultRule(at="wallet", kind="500", times=None))
    assert (await shop.run(scope))["state"] == "completed"
    assert len(pinned(shop)) == 1
