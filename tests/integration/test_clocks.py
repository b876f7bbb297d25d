"""Clocks that are wrong, jump or disagree: the database judges deadlines and leases, and windows end at 0:00 UTC."""

import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from orchestrator.assets.client import AssetClient
from orchestrator.engine.local import LocalDriver
from orchestrator.katana.client import KatanaClient
from orchestrator.operations.opening import make_engine
from orchestrator.sandbox import Sandbox
from orchestrator.store.accounts import Scope
from orchestrator.store.budgets import Window, bounds
from orchestrator.store.database import Database

from .engine_site import Site, make_site


class WrongClock:
    """The time of this machine and an error in minutes, which changes at every look where there are several."""

    def __init__(self, *errors: int) -> None:
        self._errors = errors
        self._looks = 0

    def now(self) -> datetime:
        self._looks += 1
        return datetime.now(UTC) + timedelta(minutes=self._errors[self._looks % len(self._errors)])

    def monotonic(self) -> float:
        return time.monotonic()


@pytest.fixture
def site(tmp_path: Path, database: Database, database_url: str) -> Iterator[Site]:
    with Sandbox(tmp_path / "sandbox", time_scale=0.02) as sandbox:
        yield make_site(tmp_path, sandbox, database, database_url)


async def run(site: Site, database: Database, scope: Scope, clock: WrongClock) -> None:
    provider = site.provider
    client = KatanaClient(provider.base_url, provider.payer.headers, clock=clock)
    async with asyncio.timeout(30), client, AssetClient(allow_loopback=True) as assets:
        engine = make_engine(site.settings, database, client, assets, scope, clock)
        try:
            await LocalDriver(engine).run()
        finally:
            engine.close()


@pytest.mark.parametrize("errors", [(60,), (-60,), (5, -5), (0, -60)], ids=["fast", "slow", "restless", "jumps back"])
async def test_a_wrong_clock_changes_nothing(site: Site, errors: tuple[int, ...]) -> None:
    scope = site.make_batch(4)
    await run(site, site.database, scope, WrongClock(*errors))
    document = site.document()
    assert (document["state"], document["credits"]["spent"]) == ("completed", "12")
    assert site.asked("stats")["posts"] == 4
    site.audit()


async def test_workers_whose_clocks_disagree_share_a_batch(site: Site, database_url: str) -> None:
    scope = site.make_batch(8)
    other = Database(database_url, actor="other")
    clocks = [(site.database, WrongClock(5)), (other, WrongClock(-60))]
    await asyncio.gather(*(run(site, database, scope, clock) for database, clock in clocks))
    other.close()
    assert site.document()["state"] == "completed"
    assert site.asked("stats")["posts"] == 8
    site.audit()


@pytest.mark.parametrize(
    ("window", "day", "begins", "ends"),
    [
        ("daily", date(2028, 2, 28), date(2028, 2, 28), date(2028, 2, 29)),
        ("daily", date(2028, 2, 29), date(2028, 2, 29), date(2028, 3, 1)),
        ("daily", date(2026, 10, 25), date(2026, 10, 25), date(2026, 10, 26)),
        ("monthly", date(2028, 2, 29), date(2028, 2, 1), date(2028, 3, 1)),
        ("monthly", date(2026, 1, 31), date(2026, 1, 1), date(2026, 2, 1)),
        ("monthly", date(2026, 12, 1), date(2026, 12, 1), date(2027, 1, 1)),
    ],
)
def test_windows_of_caps_end_where_the_calendar_says(window: Window, day: date, begins: date, ends: date) -> None:
    assert bounds(window, day) == (begins, ends)
