"""Workers that submit nothing need no keys: they copy for every account, and poll what carried its own payment."""

import asyncio
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from orchestrator.base.errors import Unusable
from orchestrator.base.heartbeats import Heartbeats, Loop
from orchestrator.base.payments import Payment, Unit
from orchestrator.base.settings import load_settings
from orchestrator.engine.local import LocalDriver, steps
from orchestrator.operations import ticking
from orchestrator.operations.keyless import worker_providers
from orchestrator.operations.opening import open_engine
from orchestrator.sandbox import FaultRule, Sandbox
from orchestrator.store.accounts import Scope, account_pk
from orchestrator.store.database import Database
from orchestrator.store.leases import count_senders
from workers import watch
from workers.kinds import SETTLE
from workers.watch import Newcomers, Watcher

from .celery_site import make_site
from .redis_server import RedisServer, require_redis
from .store_rows import ORIGIN, account
from .test_x402_direct import Shop


@pytest.fixture
def at_the_origin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KATANA_BASE_URL", ORIGIN)


@pytest.mark.usefixtures("at_the_origin")
def test_who_submits_has_keys_and_who_does_not_works_for_all_accounts_of_the_provider(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    account(database, "credits:one")
    with database.begin() as connection:
        account_pk(connection, ORIGIN, "x402-base:0xabc", Unit.USDC)
        account_pk(connection, "https://another.test", "credits:far")
        account_pk(connection, "sandbox", "sandbox:things-1")
        with pytest.raises(Unusable, match="no credentials"):
            worker_providers(load_settings(), connection, submits=True)
        found = worker_providers(load_settings(), connection, submits=False)
        assert [(one.account, one.payment, one.has_keys) for one in found] == [
            ("credits:one", Payment.CREDITS, False),
            ("x402-base:0xabc", Payment.X402_BASE, False),
        ]
        monkeypatch.setenv("KATANA_API_KEY", "key")
        monkeypatch.setenv("KATANA_API_SECRET", "secret")
        (keyed,) = worker_providers(load_settings(), connection, submits=True)
        account_pk(connection, ORIGIN, keyed.account)
        found = worker_providers(load_settings(), connection, submits=False)
        assert [one.has_keys for one in found] == [True, False, False]


def senders(database: Database, scope: Scope) -> int:
    with database.begin() as connection:
        return count_senders(connection, scope.account_pk)


async def test_what_carried_its_own_payment_is_polled_and_copied_without_a_key_and_never_taken_for_lost(
    tmp_path: Path, database: Database, database_url: str
) -> None:
    with Sandbox(tmp_path / "sandbox", time_scale=0.02) as sandbox:
        settings = load_settings(home=tmp_path / "home", database_url=database_url, katana_base_url=sandbox.base_url)
        shop = Shop(tmp_path, sandbox, database, settings)
        scope = shop.make_batch(3)
        async with open_engine(shop.settings, database, shop.provider, scope) as engine:
            submitting = steps(engine)[0]
            for piece in await submitting.claim(engine, 3):
                await submitting.work(engine, piece)
            assert senders(database, scope) == 1
        assert set(shop.states()) == {"generating"}

        with database.begin() as connection:
            (keyless,) = worker_providers(shop.settings, connection, submits=False)
        impatient = shop.settings.model_copy(update={"request_lost_after": 0.0})
        shop.play(FaultRule(at="poll", kind="404", times=2))
        async with asyncio.timeout(30), open_engine(impatient, database, keyless, scope) as engine:
            assert [step.name for step in steps(engine)] == ["poll", "copy"]
            await LocalDriver(engine).run()
            assert senders(database, scope) == 0
        assert shop.states() == ["completed"] * 3
        shop.check()


async def test_of_an_account_only_files_are_fetched_without_its_key(
    tmp_path: Path, database: Database, database_url: str
) -> None:
    settings = load_settings(home=tmp_path, database_url=database_url, katana_base_url=ORIGIN)
    account(database, "wallet-base:0xabc")
    account(database, "credits:one")
    with database.begin() as connection:
        for provider in worker_providers(settings, connection, submits=False):
            scope = Scope(provider.account_pk(connection))
            async with open_engine(settings, database, provider, scope) as engine:
                assert [step.name for step in steps(engine)] == ["copy"]


@pytest.mark.redis
def test_a_worker_without_keys_copies_what_the_one_with_keys_submits_and_polls(
    tmp_path: Path, database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_redis()
    with RedisServer(tmp_path) as redis, Sandbox(tmp_path / "sandbox", time_scale=0.05) as sandbox:
        site = make_site(tmp_path, database, database_url, redis.url, sandbox, monkeypatch)
        batch_id = site.submit(4)
        with site.worker("--queues", f"submit,poll,{SETTLE}", name="pays"):
            monkeypatch.delenv("KATANA_API_KEY")
            monkeypatch.delenv("KATANA_API_SECRET")
            with site.worker("--queues", f"copy,{SETTLE}", name="copies"):
                document = site.wait_ended(batch_id)
        assert (document["state"], document["jobs"]["completed"]) == ("completed", 4)
        assert len(site.originals()) == 4


def test_without_an_account_to_run_schedules_of_no_ticker_beats(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ticking, "_LOOK_SECONDS", 0.001)
    heartbeats = Heartbeats()
    with ticking.ticking(load_settings(), database, beat=lambda: heartbeats.beat(Loop.TICKER)):
        time.sleep(0.02)
    assert heartbeats.ages() == {}


def test_a_worker_without_keys_ends_once_there_is_an_account_that_it_was_not_started_for(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "_LOOK_SECONDS", 0.05)
    monkeypatch.setattr(watch, "state", ended := SimpleNamespace(should_stop=None))
    watcher = Watcher(database, [], max_in_flight=64, kinds=frozenset({"copy"}), send=lambda _: None)
    watcher.also_looks = Newcomers(ORIGIN, []).look
    stopped = threading.Event()
    thread = threading.Thread(target=watcher.run, args=[stopped], daemon=True)
    thread.start()
    assert ended.should_stop is None
    account(database, "credits:new")
    until = time.monotonic() + 10
    while ended.should_stop is None and time.monotonic() < until:
        time.sleep(0.02)
    stopped.set()
    thread.join()
    assert ended.should_stop == 0
