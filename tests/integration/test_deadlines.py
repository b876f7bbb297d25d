"""F31: a destination that is out for long, for longer than the sources last, or too slow: told early, nothing lost."""

import asyncio
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update

from orchestrator.engine.deadlines import CopyPace
from orchestrator.engine.local import LocalDriver
from orchestrator.engine.stakes import watch_deadlines
from orchestrator.operations.opening import open_engine
from orchestrator.operations.running import exit_code
from orchestrator.sandbox import Sandbox
from orchestrator.store.database import Database
from orchestrator.store.tables import holds, jobs

from .engine_site import BATCH, Site, make_site
from .store_rows import force_jobs, put_submission


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    with Sandbox(tmp_path / "sandbox", time_scale=0.02) as running:
        yield running


@pytest.fixture
def site(tmp_path: Path, sandbox: Sandbox, database: Database, database_url: str) -> Site:
    return make_site(tmp_path, sandbox, database, database_url, stall_after=0.3, max_in_flight=2)


async def until(holds_now: Callable[[], bool]) -> None:
    while not await asyncio.to_thread(holds_now):  # noqa: ASYNC110 - what it waits for is not of this loop
        await asyncio.sleep(0.02)


def the_hold(site: Site) -> tuple[str, bool]:
    """The message of the batch's one hold, and whether it keeps anything from being sent."""
    with site.database.begin() as connection:
        found = connection.execute(select(holds.c.message, holds.c.blocking)).one()
    return found.message, found.blocking


async def test_while_the_destination_fails_nothing_more_is_bought(site: Site) -> None:
    scope = site.make_batch(16)
    site.out.write_text("in the way")
    document = await site.run(scope)
    assert (document["state"], exit_code(document)) == ("held", 4)
    assert [hold["code"] for hold in document["holds"]] == ["destination-failing"]
    paid = len(site.sandbox.charges())
    assert 0 < paid < 16
    assert document["jobs"]["copying"] == paid
    message, is_blocking = the_hold(site)
    assert is_blocking
    assert "finished job(s) wait, the first expires at 20" in message

    site.out.unlink()
    document = await site.resume(scope)
    assert (document["state"], document["holds"], document["jobs"]["completed"]) == ("completed", [], 16)
    site.audit()


async def test_a_worker_goes_on_by_itself_with_the_first_copy_that_works(site: Site) -> None:
    """An outage of any length: copies are tried at least once a minute, and nobody has to resume."""
    scope = site.make_batch(8)
    site.out.write_text("in the way")
    async with open_engine(site.settings, site.database, site.provider, scope) as engine:
        driver = LocalDriver(engine)
        working = asyncio.create_task(driver.run(until_idle=False))
        await until(lambda: site.document()["state"] == "held")
        paid = len(site.sandbox.charges())
        await asyncio.sleep(0.5)
        assert len(site.sandbox.charges()) == paid < 8
        site.out.unlink()
        async with asyncio.timeout(30):
            await until(lambda: site.document()["state"] == "completed")
        driver.stop()
        await working
    assert site.document()["holds"] == []
    site.audit()


async def test_an_outage_longer_than_the_sources_last_loses_nothing(
    tmp_path: Path, database: Database, database_url: str
) -> None:
    with Sandbox(tmp_path / "sandbox", time_scale=0.02, asset_lifetime_seconds=3) as sandbox:
        site = make_site(tmp_path, sandbox, database, database_url, stall_after=0.3, max_in_flight=2)
        scope = site.make_batch(5)
        site.out.write_text("in the way")
        assert (await site.run(scope))["state"] == "held"
        with database.begin() as connection:
            last = connection.execute(select(jobs.c.source_expires_at)).scalars().all()
        finished = [at for at in last if at is not None]
        assert finished
        await asyncio.sleep(max(0.0, (max(finished) - datetime.now(UTC)).total_seconds()) + 1)
        site.out.unlink()
        document = await site.resume(scope)
        assert (document["state"], document["jobs"]["completed"]) == ("completed", 5)
        site.audit()


async def test_a_spool_that_cannot_take_what_comes_stops_the_buying_at_once(
    tmp_path: Path, sandbox: Sandbox, database: Database, database_url: str
) -> None:
    """Long before `stall_after`."""
    site = make_site(tmp_path, sandbox, database, database_url, max_in_flight=2, spool_bytes=1)
    scope = site.make_batch(12)
    site.out.write_text("in the way")
    document = await site.run(scope)
    assert (document["state"], document["jobs"]["completed"]) == ("held", 0)
    assert len(site.sandbox.charges()) < 12
    assert the_hold(site)[1]


async def test_copies_that_are_too_slow_stop_the_buying_until_they_catch_up(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    scope = site.make_batch(4)
    expires_at = datetime.now(UTC) + timedelta(minutes=62)
    put_jobs(site, ["copying"] * 3 + ["pending"], expires_at)
    async with open_engine(site.settings, site.database, site.provider, scope) as engine:
        engine.copy_pace = pace(seconds=8 * 900)
        await watch_deadlines(engine)
        message, is_blocking = the_hold(site)
        assert is_blocking
        assert "1 of 3 finished jobs may not be stored in time" in message
        assert message in caplog.text
        assert [hold["code"] for hold in site.document()["holds"]] == ["destination-failing"]

        engine.copy_pace = pace(seconds=8 * 90)
        await watch_deadlines(engine)
        assert the_hold(site)[1], "it is not looked at all the time"
        engine.next_deadlines_at = 0
        await watch_deadlines(engine)
        assert site.document()["holds"] == []


def pace(*, seconds: float) -> CopyPace:
    made = CopyPace(slots=8)
    for _ in range(5):
        made.note(seconds=seconds, size_bytes=1)
    return made


def put_jobs(site: Site, states: list[str], expires_at: datetime) -> None:

    with site.database.begin() as connection:
        account_pk = connection.execute(select(jobs.c.account_pk).limit(1)).scalar_one()
        force_jobs(connection, BATCH, states, put_submission(connection, BATCH, account_pk, "accepted"))
        connection.execute(update(jobs).values(copy_failures=0, source_expires_at=expires_at))
