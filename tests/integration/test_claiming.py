"""When an engine queues for its account, which one process at a time claims jobs of, and how long it rests."""

import asyncio
from collections.abc import Iterator
from math import inf
from pathlib import Path

import pytest

from orchestrator.engine import receipts, submit
from orchestrator.engine.local import Rests, steps
from orchestrator.operations.opening import open_engine
from orchestrator.receipts import book
from orchestrator.sandbox import Sandbox
from orchestrator.store.accounts import lock_account
from orchestrator.store.database import Database

from .engine_site import Site, make_site


@pytest.fixture
def site(tmp_path: Path, database: Database, database_url: str) -> Iterator[Site]:
    with Sandbox(tmp_path / "sandbox", time_scale=0.02) as sandbox:
        yield make_site(tmp_path, sandbox, database, database_url)


async def test_who_claimed_a_moment_ago_does_not_queue_and_who_did_not_does(site: Site) -> None:
    scope = site.make_batch(3)
    async with open_engine(site.settings, site.database, site.provider, scope) as engine:
        assert len(await submit.claim(engine, 1)) == 1
        with site.database.begin() as connection:
            lock_account(connection, scope.account_pk)
            assert await submit.claim(engine, 1) == []
            engine.claimed_at = -inf
            queued = asyncio.create_task(submit.claim(engine, 1))
            await asyncio.sleep(0.3)
            assert not queued.done()
        assert len(await queued) == 1


async def test_what_is_due_and_cannot_be_taken_is_asked_for_less_and_less_often(site: Site) -> None:
    async with open_engine(site.settings, site.database, site.provider, site.make_batch(1)) as engine:
        step = steps(engine)[0]
        rests = Rests(engine, step)
        assert [await rests.seconds(2.0) for _ in range(7)] == [0.02, 0.04, 0.08, 0.16, 0.32, 0.5, 0.5]
        assert await rests.seconds(0.1) == 0.1
        rests.end()
        assert await rests.seconds(2.0) == 0.02
        await step.claim(engine, 1)
        assert await rests.seconds(2.0) == 2.0


async def test_a_disk_that_takes_no_receipt_is_told_of_now_and_then(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_engine(site.settings, site.database, site.provider, site.make_batch(1)) as engine:
        with monkeypatch.context() as patched:
            patched.setattr(book, "LEAST_FREE_BYTES", 10**18)
            assert [await submit.claim(engine, 1) for _ in range(5)] == [[]] * 5
        assert caplog.text.count("MiB are free") == 1
        await asyncio.sleep(receipts.LOOK_AGAIN_SECONDS)
        assert len(await submit.claim(engine, 1)) == 1
