"""Celery as the driver: real workers, a real Redis that is flushed, killed or doubled, and the provider's own ledger."""

import signal
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from orchestrator.sandbox import FaultRule, Faults, Sandbox
from orchestrator.store.database import Database

from .celery_site import PRICE, Site, make_site
from .redis_server import RedisServer, require_redis

pytestmark = pytest.mark.redis
JOBS = 20


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    require_redis()
    with RedisServer(tmp_path) as server:
        yield server


@pytest.fixture
def site(
    tmp_path: Path, database: Database, database_url: str, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Site]:
    with Sandbox(tmp_path / "sandbox", time_scale=0.05) as sandbox:
        yield make_site(tmp_path, database, database_url, redis_server.url, sandbox, monkeypatch)


def assert_all_stored_and_paid_once(site: Site, batch_id: str) -> None:
    document = site.wait_ended(batch_id)
    assert (document["state"], document["jobs"]["completed"]) == ("completed", JOBS)
    assert len(site.stored_files()) == JOBS
    assert site.charged() == Decimal(document["credits"]["spent"]) == JOBS * PRICE
    assert site.stats()["posts"] == JOBS
    assert site.stats()["max_in_flight"] <= site.settings.max_in_flight


def test_a_batch_is_worked_by_a_worker_without_beat(site: Site) -> None:
    batch_id = site.submit(JOBS)
    with site.worker():
        assert_all_stored_and_paid_once(site, batch_id)


def test_losing_everything_in_redis_loses_nothing(site: Site, redis_server: RedisServer) -> None:
    batch_id = site.submit(JOBS)
    with site.worker():
        site.wait_stored(batch_id, 3)
        redis_server.flush()
        assert_all_stored_and_paid_once(site, batch_id)


def test_work_goes_on_when_redis_is_restarted(site: Site, redis_server: RedisServer) -> None:
    batch_id = site.submit(JOBS)
    with site.worker():
        site.wait_stored(batch_id, 3)
        redis_server.kill()
        redis_server.start()
        assert_all_stored_and_paid_once(site, batch_id)


def test_a_killed_worker_is_replaced_and_nothing_is_paid_twice(site: Site) -> None:
    site.sandbox.play(Faults(rules=[FaultRule(at="submit", kind="slow", times=None, seconds=0.2)]))
    batch_id = site.submit(JOBS)
    with site.worker(name="first") as first:
        site.wait_stored(batch_id, 3)
        first.kill()
    with site.worker(name="second"):
        document = site.wait_ended(batch_id)
    jobs, charges = document["jobs"], site.sandbox.charges()
    assert jobs["completed"] + jobs["in_doubt"] == JOBS
    assert len(charges) <= site.stats()["posts"] <= JOBS
    assert Decimal(document["credits"]["spent"]) == jobs["completed"] * PRICE
    assert len(site.stored_files()) == jobs["completed"]


def test_two_workers_and_doubled_hints_pay_once(site: Site) -> None:
    batch_id = site.submit(JOBS)
    with site.worker(name="one"), site.worker("--pool", "processes", "--concurrency", "2", name="two"):
        with site.celery("beat", name="beat"):
            for _ in range(5):
                site.hint_at_everything()
            site.wait_stored(batch_id, 3)
            for _ in range(5):
                site.hint_at_everything()
            assert_all_stored_and_paid_once(site, batch_id)


@pytest.mark.parametrize("pool", ["threads", "processes"])
def test_sigterm_waits_for_the_answers_to_paid_posts(site: Site, pool: str) -> None:
    site.sandbox.play(Faults(rules=[FaultRule(at="submit", kind="slow", times=None, seconds=1.0)]))
    batch_id = site.submit(JOBS)
    with site.worker("--pool", pool) as worker:
        site.wait(batch_id, lambda document: document["jobs"]["submitting"] > 0 and site.stats()["posts"] > 0)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(timeout=15) == 0, site.logs()
    jobs = site.document(batch_id)["jobs"]
    assert jobs["submitting"] == jobs["in_doubt"] == 0
    assert jobs["generating"] + jobs["copying"] + jobs["completed"] == site.stats()["posts"] > 0
