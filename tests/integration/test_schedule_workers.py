"""Schedules under both drivers: real workers, of which one is killed while it submits."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import select, text, update

from orchestrator.operations import scheduling
from orchestrator.operations.scheduling import Times
from orchestrator.sandbox import FaultRule, Faults, Sandbox
from orchestrator.store.database import Database
from orchestrator.store.tables import batches, schedule_runs, schedules

from .celery_site import PRICE, Site, make_site
from .redis_server import RedisServer, require_redis

JOBS = 4


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    with Sandbox(tmp_path / "sandbox", time_scale=0.02) as running:
        yield running


def schedule_for_now(site: Site) -> None:
    """Schedule a manifest once a year, and have its slot come now."""
    jobs = [{"id": f"job-{n}", "model": "gen", "prompt": f"Thing {n}", "aspect_ratio": "1:1"} for n in range(JOBS)]
    manifest = site.folder / "things.yaml"
    document = {"version": 1, "name": "things", "budget": {"credits": 100}, "jobs": jobs}
    manifest.write_text(yaml.safe_dump(document))
    # every worker of this test can read the file
    scheduling.add_schedule(manifest, site.settings.model_copy(update={"broker_url": None}), Times("0 0 1 1 *"))
    with site.database.begin() as connection:
        connection.execute(update(schedules).values(next_at=text("orchestrator_now()")))


def rows(site: Site, table: Any) -> list[Any]:
    with site.database.begin() as connection:
        return list(connection.execute(select(table)))


def wait_for(site: Site, what: Any, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, site.logs()
        time.sleep(0.05)


def assert_one_batch_is_worked(site: Site) -> None:
    wait_for(site, lambda: [run.state for run in rows(site, schedule_runs)] == ["submitted"])
    [batch] = rows(site, batches)
    assert site.wait_ended(batch.id)["state"] == "completed", site.logs()
    assert site.charged() == JOBS * PRICE == Decimal(site.document(batch.id)["credits"]["spent"])


@contextmanager
def local_worker(site: Site, name: str) -> Iterator[subprocess.Popen[bytes]]:
    """`orchestrator worker` without a broker."""
    environment = {key: value for key, value in os.environ.items() if key != "ORCHESTRATOR_BROKER_URL"}
    with (site.folder / f"{name}.log").open("wb") as log:
        command = [sys.executable, "-m", "orchestrator", "worker"]
        process = subprocess.Popen(command, cwd=site.folder, env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_a_worker_without_a_broker_is_killed_while_it_submits_and_the_next_one_goes_on(
    tmp_path: Path, database: Database, database_url: str, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = make_site(tmp_path, database, database_url, "redis://127.0.0.1:1/0", sandbox, monkeypatch)
    schedule_for_now(site)
    sandbox.play(Faults.of(FaultRule(at="balance", kind="slow", times=None, seconds=5)))
    with local_worker(site, "first") as first:
        wait_for(site, lambda: [run.state for run in rows(site, schedule_runs)] == ["started"])
        time.sleep(1)
        first.kill()
        first.wait()
    assert rows(site, batches) == []
    sandbox.play(Faults())
    with local_worker(site, "second") as second:
        assert_one_batch_is_worked(site)
        second.send_signal(signal.SIGTERM)
        assert second.wait(timeout=20) == 0, site.logs()


@pytest.mark.redis
def test_several_celery_workers_submit_once(
    tmp_path: Path, database: Database, database_url: str, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_redis()
    with RedisServer(tmp_path) as redis, ExitStack() as workers:
        site = make_site(tmp_path, database, database_url, redis.url, sandbox, monkeypatch)
        running = [workers.enter_context(site.worker(name=name)) for name in ("one", "two")]
        schedule_for_now(site)
        assert_one_batch_is_worked(site)
        for worker in running:
            worker.send_signal(signal.SIGTERM)
        assert [worker.wait(timeout=30) for worker in running] == [0, 0], site.logs()
