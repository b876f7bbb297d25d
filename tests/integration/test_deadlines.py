"""F31: a destination that is out for long, for longer than the sources last, or too slow: told early, nothing lost."""

import asyncio
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, text, update

from orchestrator.assets.errors import DestinationFailed
from orchestrator.engine.copy import claim
from orchestrator.engine.deadlines import CopyPace
from orchestrator.engine.local import LocalDriver
from orchestrator.engine.stakes import lift_failing, note_failing_destination, watch_deadlines
from orchestrator.operations.opening import open_engine
from orchestrator.operations.running import exit_code
from orchestrator.sandbox import Sandbox
from orchestrator.store.database import Database
from orchestrator.store.tables import holds, jobs

from .engine_site import BATCH, Site, make_site
from .store_rows import force_jobs, put_submission


@pytest.fixture(autouse=True)
def copied_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """The longest wait for another try is a second instead of a minute."""
    monkeypatch.setattr("orchestrator.engine.copy.LONGEST_COPY_RETRY_SECONDS", 1.0)


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
    """What one process finds too slow goes on when all together have stored enough, whoever looks."""
    scope = site.make_batch(4)
    put_jobs(site, ["copying"] * 3 + ["pending"], datetime.now(UTC) + timedelta(minutes=62))
    async with open_engine(site.settings, site.database, site.provider, scope) as engine:
        engine.copy_pace = pace(seconds=8 * 900)
        await watch_deadlines(engine)
        message, is_blocking = the_hold(site)
        assert is_blocking
        assert "1 of 3 finished jobs may not be stored in time" in message
        assert message in caplog.text
        assert [hold["code"] for hold in site.document()["holds"]] == ["destination-failing"]
        store_one(site)
        await watch_deadlines(engine)
        assert the_hold(site)[1], "it is not looked at all the time"
    async with open_engine(site.settings, site.database, site.provider, scope) as engine:
        await watch_deadlines(engine)
        assert site.document()["holds"] == []


async def test_a_fast_process_lifts_no_hold_that_a_slow_one_put(site: Site) -> None:
    scope = site.make_batch(4)
    put_jobs(site, ["copying"] * 3 + ["pending"], datetime.now(UTC) + timedelta(minutes=20))
    async with (
        open_engine(site.settings, site.database, site.provider, scope) as slow,
        open_engine(site.settings, site.database, site.provider, scope) as fast,
    ):
        slow.copy_pace, fast.copy_pace = pace(seconds=8 * 900), pace(seconds=1)
        await watch_deadlines(slow)
        await watch_deadlines(fast)
        assert the_hold(site)[1]
        store_one(site)
        with site.database.begin() as connection:
            lift_failing(connection, scope.account_pk, BATCH)
        assert the_hold(site)[1], "one in ten minutes is too slow for the two that are left"
        for _ in range(2):
            store_one(site)
        with site.database.begin() as connection:
            lift_failing(connection, scope.account_pk, BATCH)
        assert site.document()["holds"] == []


@pytest.mark.parametrize("spool_bytes", [1, 10**9])
async def test_a_process_that_cannot_store_puts_no_hold_while_another_can(
    tmp_path: Path, sandbox: Sandbox, database: Database, database_url: str, spool_bytes: int
) -> None:
    site = make_site(tmp_path, sandbox, database, database_url, stall_after=60, spool_bytes=spool_bytes)
    scope = site.make_batch(3)
    put_jobs(site, ["copying", "copying", "pending"], datetime.now(UTC) + timedelta(hours=24))
    async with open_engine(site.settings, site.database, site.provider, scope) as engine:
        store_one(site)
        (work,) = await claim(engine, 1)
        engine.failing.note(BATCH).since -= 3600
        await note_failing_destination(engine, work, DestinationFailed("no way to it from here"))
        assert site.document()["holds"] == []
        with database.begin() as connection:
            connection.execute(update(jobs).where(jobs.c.state == "completed").values(ended_at=hours_ago(1)))
        await note_failing_destination(engine, work, DestinationFailed("no way to it from here"))
        assert the_hold(site)[1]


def hours_ago(hours: int) -> datetime:
    return datetime.now(UTC) - timedelta(hours=hours)


def store_one(site: Site) -> None:
    """As another process would."""
    with site.database.begin() as connection:
        first = select(jobs.c.pk).where(jobs.c.state == "copying").order_by(jobs.c.pk).limit(1).scalar_subquery()
        connection.execute(update(jobs).where(jobs.c.pk == first).values(state="completed", ended_at=text("now()")))


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
