"""Destinations that fail, stops, several drivers at once, lost databases: nothing is lost and nothing is paid twice."""

import asyncio
import socket
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import insert, select, text, update

from orchestrator.assets.spool import Spool
from orchestrator.base import faults
from orchestrator.engine.answers import read_outcomes
from orchestrator.engine.bodies import submission_body
from orchestrator.engine.local import LocalDriver
from orchestrator.engine.policy import OUR_FAULT
from orchestrator.operations.opening import open_engine
from orchestrator.operations.running import exit_code
from orchestrator.sandbox import FaultRule, Sandbox
from orchestrator.store.accounts import Scope
from orchestrator.store.copying import record_completed
from orchestrator.store.database import Database
from orchestrator.store.sending import mark_sent
from orchestrator.store.tables import assets, batches, jobs

from .engine_site import Site, make_site


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    with Sandbox(tmp_path / "sandbox", time_scale=0.02) as running:
        yield running


@pytest.fixture
def site(tmp_path: Path, sandbox: Sandbox, database: Database, database_url: str) -> Site:
    return make_site(tmp_path, sandbox, database, database_url, stall_after=0.5)


@pytest.fixture(autouse=True)
def no_fault_hook() -> Iterator[None]:
    yield
    faults.install(None)


async def test_a_failing_destination_holds_the_batch_and_costs_nothing(site: Site) -> None:
    """A file stands where the folder should be. What was fetched waits in the spool and is not fetched again."""
    scope = site.make_batch(3)
    site.out.write_text("in the way")
    document = await site.run(scope)
    assert (document["state"], exit_code(document)) == ("held", 4)
    assert [hold["code"] for hold in document["holds"]] == ["destination-failing"]
    assert site.states() == ["copying"] * 3
    downloads = site.asked("stats")["asset_downloads"]
    assert downloads == 3

    site.out.unlink()
    document = await site.resume(scope)
    assert (document["state"], document["holds"]) == ("completed", [])
    originals = [path for path in site.out.rglob("*.png") if ".renditions" not in path.parts]
    assert len(originals) >= 3
    site.play(FaultRule(at="asset", kind="404", times=0))
    site.audit()


async def test_what_waits_in_the_spool_outlives_its_source(site: Site) -> None:
    scope = site.make_batch(2)
    site.out.write_text("in the way")
    assert (await site.run(scope))["state"] == "held"
    with site.database.begin() as connection:
        connection.execute(update(jobs).values(source_expires_at=text("now() - interval '1 day'")))
        connection.execute(update(assets).values(source_url="http://127.0.0.1:1/gone"))
    site.out.unlink()
    assert (await site.resume(scope))["state"] == "completed"


async def test_a_destination_that_recovers_in_time_is_no_reason_to_stop(site: Site) -> None:
    scope = site.make_batch(3)
    site.out.write_text("in the way")
    running = asyncio.create_task(site.run(scope))
    while "copying" not in await asyncio.to_thread(site.states):  # noqa: ASYNC110 - the states are in the database
        await asyncio.sleep(0.02)
    site.out.unlink()
    document = await running
    assert (document["state"], document["holds"]) == ("completed", [])
    site.audit()


async def test_a_full_spool_stops_downloads_and_loses_nothing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    scope = site.make_batch(2)
    with monkeypatch.context() as patch:
        patch.setattr(Spool, "usage_bytes", lambda _: 10**15)
        document = await site.run(scope)
    assert (document["state"], exit_code(document)) == ("held", 4)
    (message,) = [hold["message"] for hold in document["holds"]]
    assert message.startswith(f"no file can be fetched here: the spool {site.settings.home / 'spool'} is full: ")
    assert "raise ORCHESTRATOR_SPOOL_BYTES" in message
    assert site.asked("stats")["asset_downloads"] == 0
    assert (await site.resume(scope))["state"] == "completed"
    site.audit()


@pytest.mark.parametrize("after", ["pay.request", "pay.answered", "ask.answered", "spool.named", "folder.named"])
async def test_a_stop_records_what_is_under_way_and_a_second_run_finishes(site: Site, after: str) -> None:
    scope = site.make_batch(6)
    memory_bytes = 1 if after.startswith("spool") else site.settings.copy_memory_bytes
    settings = site.settings.model_copy(update={"copy_memory_bytes": memory_bytes})
    async with open_engine(settings, site.database, site.provider, scope) as engine:
        driver = LocalDriver(engine)
        loop = asyncio.get_running_loop()

        def stop_there(name: str) -> None:
            if name == after:
                loop.call_soon_threadsafe(driver.stop)

        faults.install(stop_there)
        async with asyncio.timeout(20):
            await driver.run()
    faults.install(None)
    assert not {"submitting", "in_doubt"} & set(site.states())
    site.audit()
    document = await site.resume(scope)
    assert (document["state"], document["credits"]["spent"]) == ("completed", "18")
    assert len(site.sandbox.charges()) == 6
    site.audit()


async def test_drivers_may_share_a_batch(site: Site, sandbox: Sandbox, database_url: str) -> None:
    scope = site.make_batch(20)
    others = [Database(database_url, actor=f"worker-{n}") for n in range(2)]
    sites = [site, *(Site(site.folder, sandbox, other, site.settings) for other in others)]
    await asyncio.gather(*(one.run(scope) for one in sites))
    document = site.document()
    assert (document["state"], document["credits"]["spent"]) == ("completed", "60")
    assert site.asked("stats")["posts"] == 20
    site.audit()
    for other in others:
        other.close()


async def cut_connections(database_url: str) -> None:
    other = Database(database_url, actor="tests")
    with other.begin() as connection:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
    other.close()


async def test_cut_connections_are_made_again_and_nothing_comes_into_doubt(site: Site, database_url: str) -> None:
    """Also while paid POSTs are under way: the process is alive, so they are still its own."""
    scope = site.make_batch(12)
    site.play(FaultRule(at="submit", kind="slow", seconds=0.3, times=None))
    running = asyncio.create_task(site.run(scope))
    for _ in range(12):
        await asyncio.sleep(0.15)
        await cut_connections(database_url)
    document = await running
    assert (document["state"], document["credits"]["spent"]) == ("completed", "36")
    assert site.asked("stats")["posts"] == 12
    site.audit()


async def test_an_unreachable_provider_is_waited_for(site: Site, sandbox: Sandbox) -> None:
    provider = site.provider
    scope = site.make_batch(2)
    sandbox.stop()
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        absent = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        async with open_engine(site.settings, site.database, replace(provider, base_url=absent), scope) as engine:
            driver = LocalDriver(engine)
            asyncio.get_running_loop().call_later(1, driver.stop)
            await driver.run()
    assert site.states() == ["pending", "pending"]
    sandbox.start()
    document = await site.resume(scope)
    assert document["state"] == "completed"
    assert [job["attempts"] for job in site.jobs().values()] == [1, 1]
    site.audit()


async def test_one_batch_without_its_destination_does_not_stop_another(site: Site) -> None:
    """Two batches in one run: the first one's destination cannot even be opened."""
    scope = site.make_batch(2)
    with site.database.begin() as connection:
        row = connection.execute(select(batches)).one()._asdict()
        connection.execute(insert(batches).values(row | {"id": "broken-1", "destination": "gopher://nowhere"}))
        made = connection.execute(select(jobs)).all()
        for job in made:
            values = job._asdict()
            del values["pk"]
            connection.execute(insert(jobs).values(values | {"batch_id": "broken-1"}))
    both = Scope(scope.account_pk, (*(scope.batch_ids or ()), "broken-1"))
    document = await site.run(both)
    assert document["state"] == "completed"
    with site.database.begin() as connection:
        states: list[Any] = list(connection.execute(select(batches.c.id, batches.c.state).order_by(batches.c.id)))
    assert [tuple(state) for state in states] == [("broken-1", "held"), (row["id"], "completed")]


async def test_a_fault_of_ours_in_a_rendition_leaves_it_out(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> str:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr("orchestrator.engine.placing.rendition_key", broken)
    document = await site.run(site.make_batch(2))
    assert document["state"] == "completed"
    site.audit()


async def test_a_fault_of_ours_in_one_poll_does_not_stop_the_run(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    faults_left = [RuntimeError("a fault of ours")] * 2

    def stumbling(*arguments: Any, **named: Any) -> Any:
        if faults_left:
            raise faults_left.pop()
        return read_outcomes(*arguments, **named)

    monkeypatch.setattr("orchestrator.engine.poll.read_outcomes", stumbling)
    document = await site.run(site.make_batch(3))
    assert (document["state"], faults_left) == ("completed", [])
    site.audit()


async def test_a_job_that_we_stumble_over_is_put_aside(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """No request can be made of it: after three tries it is rejected, unpaid, and its batch goes on without it."""
    tries = []

    def stumbling(items: list[dict[str, Any]], *arguments: Any) -> bytes:
        if "A thing 1 #1" in [item["prompt"] for item in items]:
            tries.append(items)
            raise RuntimeError("a fault of ours")
        return submission_body(items, *arguments)

    monkeypatch.setattr("orchestrator.engine.submit.submission_body", stumbling)
    monkeypatch.setattr("orchestrator.engine.unsent.OUR_FAULT_RETRY_SECONDS", 0.1)
    document = await site.run(site.make_batch(3))
    assert (document["state"], site.states(), len(tries)) == (
        "partial_failure",
        ["completed", "rejected", "completed"],
        3,
    )
    error = site.jobs()["job-1"]["error"]
    assert (error["code"], error["charged"], "RuntimeError" in error["message"]) == ("unknown", False, True)
    site.audit()


async def test_our_own_slowness_is_no_fault_of_the_provider(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it takes so long to mark a job as sent that its connection may be closed, it is sent later; that is all."""
    limits = [timedelta(0)] * 12

    class Impatient:
        def __radd__(self, opened_at: datetime) -> datetime:
            return opened_at + (limits.pop() if limits else timedelta(seconds=10))

    monkeypatch.setattr("orchestrator.katana.phase._LONGEST_OPEN", Impatient())
    monkeypatch.setattr("orchestrator.engine.answered.note_opening", lambda *_: pytest.fail("the breaker is told"))
    document = await site.run(site.make_batch(3))
    assert (document["state"], limits, [job["attempts"] for job in site.jobs().values()]) == ("completed", [], [1] * 3)
    assert len(site.sandbox.charges()) == 3
    site.audit()


async def test_a_job_that_cannot_be_marked_as_sent_is_put_aside(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def stumbling(connection: Any, departures: list[Any], **more: Any) -> Any:
        if any(is_first(connection, departure.id) for departure in departures):
            raise RuntimeError("a fault of ours")
        return mark_sent(connection, departures, **more)

    def is_first(connection: Any, submission_id: UUID) -> bool:
        found = select(jobs.c.name).where(jobs.c.submission_id == submission_id)
        return bool(connection.execute(found).scalar_one() == "job-0")

    monkeypatch.setattr("orchestrator.store.sending.mark_sent", stumbling)
    monkeypatch.setattr("orchestrator.engine.unsent.OUR_FAULT_RETRY_SECONDS", 0.1)
    document = await site.run(site.make_batch(3))
    assert (document["state"], site.states()) == ("partial_failure", ["rejected", "completed", "completed"])
    assert len(site.sandbox.charges()) == 2
    site.audit()


async def test_a_job_that_cannot_be_completed_stops_no_other(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    stumbled: list[Any] = []

    def stumbling(connection: Any, finished: dict[int, UUID]) -> Any:
        name = connection.execute(select(jobs.c.name).where(jobs.c.pk.in_(finished))).scalars().all()
        if "job-0" in name and len(stumbled) < 3:
            stumbled.append(name)
            raise RuntimeError("a fault of ours")
        return record_completed(connection, finished)

    monkeypatch.setattr("orchestrator.store.copying.record_completed", stumbling)
    document = await site.run(site.make_batch(3))
    assert (document["state"], site.states(), len(stumbled)) == ("completed", ["completed"] * 3, 3)
    site.audit()


async def test_an_answer_that_we_stumble_over_is_polled(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> Any:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr("orchestrator.engine.answered.is_final", broken)
    document = await site.run(site.make_batch(2))
    assert document["state"] == "completed"
    site.audit()


async def test_a_lasting_fault_of_ours_ends_with_the_sources(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> str:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr("orchestrator.engine.placing.render_key", broken)
    monkeypatch.setattr("orchestrator.engine.copy.OUR_FAULT", replace(OUR_FAULT, overdue_seconds=-(10.0**9)))
    document = await site.run(site.make_batch(1))
    assert document["state"] == "failed"
    assert [job["error"]["code"] for job in site.jobs().values()] == ["unknown"]


async def test_a_stop_waits_for_no_answer_that_is_free(site: Site) -> None:
    """Here for the balance, which is read before the first submission."""
    site.play(FaultRule(at="balance", kind="slow", seconds=20, times=None))
    async with open_engine(site.settings, site.database, site.provider, site.make_batch(2)) as engine:
        driver = LocalDriver(engine)
        working = asyncio.create_task(driver.run())
        await asyncio.sleep(1)
        driver.stop()
        async with asyncio.timeout(3):
            await working
    assert site.sandbox.charges() == []
