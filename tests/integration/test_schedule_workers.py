"""Schedules under both drivers: real workers, of which one is killed while it submits."""

import json
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

from orchestrator.assets import s3
from orchestrator.operations import scheduling
from orchestrator.operations.scheduling import Times
from orchestrator.operations.submitting import SubmitOptions, submit
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


def put_object(bucket: str, key: str, text: str) -> None:
    s3.s3_client().put_object(Bucket=bucket, Key=key, Body=text.encode())


def manifest_text() -> str:
    """One job a row of the file beside it, once a year."""
    job = {
        "id": "job-{{ n }}",
        "for_each": "things.csv",
        "model": "gen",
        "prompt": "A {{ what }}",
        "aspect_ratio": "1:1",
    }
    times = {"cron": "0 0 1 1 *"}
    document = {"version": 1, "name": "things", "budget": {"credits": 100}, "schedule": times, "jobs": [job]}
    return yaml.safe_dump(document)


def rows_text() -> str:
    return "n,what\n" + "".join(f"{n},thing of number {n}\n" for n in range(JOBS))


def have_slot_come(site: Site) -> None:
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
    [batch] = [batch for batch in rows(site, batches) if batch.name == "things"]
    assert site.wait_ended(batch.id)["state"] == "completed", site.logs()
    assert site.document(batch.id)["credits"]["spent"] == str(JOBS * PRICE)
    assert site.charged() == sum(Decimal(site.document(one.id)["credits"]["spent"]) for one in rows(site, batches))


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


def test_a_worker_is_killed_while_it_submits_beside_its_other_work_and_the_next_one_goes_on(
    tmp_path: Path, database: Database, database_url: str, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = make_site(tmp_path, database, database_url, "redis://127.0.0.1:1/0", sandbox, monkeypatch)
    local = site.settings.model_copy(update={"broker_url": None})
    (tmp_path / "things.csv").write_text(rows_text())
    (tmp_path / "things.yaml").write_text(manifest_text())
    scheduling.add_schedule(tmp_path / "things.yaml", local, Times())
    have_slot_come(site)
    other = tmp_path / "others.json"
    job = {"id": "other", "model": "gen", "prompt": "Another thing", "aspect_ratio": "1:1"}
    other.write_text(json.dumps({"version": 1, "name": "others", "jobs": [job]}))
    others = submit(other, local, SubmitOptions(detach=True), confirm=lambda _: True)["batch"]
    sandbox.play(Faults.of(FaultRule(at="balance", kind="slow", times=None, seconds=15)))
    with local_worker(site, "first") as first:
        wait_for(site, lambda: [run.state for run in rows(site, schedule_runs)] == ["started"])
        assert site.wait_ended(others)["state"] == "completed", "a submission that takes its time holds up nothing"
        assert [run.state for run in rows(site, schedule_runs)] == ["started"]
        first.kill()
        first.wait()
    assert [batch.id for batch in rows(site, batches)] == [others]
    sandbox.play(Faults())
    with local_worker(site, "second") as second:
        assert_one_batch_is_worked(site)
        second.send_signal(signal.SIGTERM)
        assert second.wait(timeout=20) == 0, site.logs()


@pytest.mark.redis
def test_several_celery_workers_read_the_manifest_on_s3_and_submit_once(
    tmp_path: Path,
    database: Database,
    database_url: str,
    sandbox: Sandbox,
    bucket: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    require_redis()
    with RedisServer(tmp_path) as redis, ExitStack() as workers:
        site = make_site(tmp_path, database, database_url, redis.url, sandbox, monkeypatch)
        running = [workers.enter_context(site.worker(name=name)) for name in ("one", "two")]
        put_object(bucket, "nightly/things.csv", rows_text())
        put_object(bucket, "nightly/things.yaml", manifest_text())
        added = scheduling.add_schedule(Path(f"s3://{bucket}/nightly/things.yaml"), site.settings, Times())
        assert added["manifest"] == f"s3://{bucket}/nightly/things.yaml"
        have_slot_come(site)
        assert_one_batch_is_worked(site)
        for worker in running:
            worker.send_signal(signal.SIGTERM)
        assert [worker.wait(timeout=30) for worker in running] == [0, 0], site.logs()
