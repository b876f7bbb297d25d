"""Outages of the provider in the middle of a batch: nothing is lost, nothing is paid for in vain, and it goes on."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text

from orchestrator.sandbox import FaultRule, Sandbox
from orchestrator.store import breaker
from orchestrator.store.database import Database
from orchestrator.store.tables import accounts, paces

from .engine_site import Site, make_site
from .store_rows import row

JOBS = 20
MOST = 8
BUDGET = 10_000  # so large that what is in doubt is never too much of it


@pytest.fixture(autouse=True)
def quick_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breaker, "FIRST_PROBE_SECONDS", 0.3)
    monkeypatch.setattr(breaker, "LONGEST_PROBE_SECONDS", 0.6)


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    with Sandbox(tmp_path / "sandbox", time_scale=0.05) as running:
        yield running


@pytest.fixture
def site(tmp_path: Path, sandbox: Sandbox, database: Database, database_url: str) -> Site:
    return make_site(tmp_path, sandbox, database, database_url, max_in_flight=MOST)


def rule(at: Any, kind: str, **more: Any) -> FaultRule:
    return FaultRule(at=at, kind=kind, times=None, **more)


async def until(is_so: Callable[[], bool]) -> None:
    while not is_so():  # noqa: ASYNC110 - it is in the database
        await asyncio.sleep(0.02)


async def reached(site: Site, completed: int) -> None:
    await until(lambda: site.states().count("completed") >= completed)


async def opened(site: Site) -> None:
    await until(lambda: row(site.database, accounts).breaker_opened_at is not None)


def is_paused(site: Site) -> bool:
    with site.database.begin() as connection:
        return bool(connection.execute(select(paces.c.model).where(paces.c.paused_until.is_not(None))).all())


async def test_an_outage_in_the_middle_of_a_batch_costs_nothing_and_loses_nothing(site: Site) -> None:
    """Gateway pages from everywhere, which the polls meet first; not one paid request leaves into it."""
    scope = site.make_batch(JOBS, budget=BUDGET)
    running = asyncio.create_task(site.run(scope, seconds=60))
    await reached(site, 3)
    gone = [rule("poll", "500"), rule("models", "500"), rule("balance", "500")]
    site.play(*gone)
    await opened(site)
    await until(lambda: "submitting" not in site.states())
    site.play(rule("submit", "502-html"), *gone)
    posts = site.asked("stats")["posts"]
    await asyncio.sleep(2)
    assert (site.asked("stats")["posts"], site.document()["state"]) == (posts, "running"), "nothing paid is a probe"
    site.play()
    document = await running
    assert (document["state"], document["credits"]["spent"]) == ("completed", str(3 * JOBS))
    site.audit()


async def test_a_provider_that_is_gone_for_a_while_is_waited_for(site: Site) -> None:
    """Nobody listens: no byte leaves, so that nothing at all comes into doubt."""
    scope = site.make_batch(JOBS, budget=BUDGET)
    site.play(rule("submit", "429", retry_after=3, skip=4))
    running = asyncio.create_task(site.run(scope, seconds=60))
    await until(lambda: is_paused(site) and "submitting" not in site.states())
    site.sandbox.stop()  # no request is under way
    await opened(site)
    await asyncio.sleep(1)
    site.sandbox.start()
    site.play()
    document = await running
    assert (document["state"], document["credits"]["spent"]) == ("completed", str(3 * JOBS))
    site.audit()


async def test_paid_requests_that_alone_are_not_answered_cost_little(site: Site) -> None:
    """Polls and probes work, so that one paid request is risked after each rest, ever more seldom."""
    scope = site.make_batch(JOBS, budget=BUDGET)
    site.play(rule("submit", "drop-before-charge"))
    with pytest.raises(TimeoutError):
        await site.run(scope, seconds=6)
    assert site.asked("stats")["posts"] <= MOST + breaker.FAILURES_TO_OPEN + 5
    with site.database.begin() as connection:
        assert connection.execute(text("SELECT count(*) FROM submission WHERE state = 'accepted'")).scalar_one() == 0
    site.audit()
