"""A real worker from its start to its end: probes, metrics, logs of JSON, and a stop that waits for paid answers."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from sqlalchemy import text

from orchestrator.base.heartbeats import Heartbeats, Loop
from orchestrator.base.logs import LogEvent
from orchestrator.base.settings import load_settings
from orchestrator.operations.monitoring import Monitor
from orchestrator.operations.submitting import SubmitOptions, submit
from orchestrator.sandbox import FaultRule, Faults, Sandbox
from orchestrator.store.database import Database

from .celery_site import Site, make_site

T = TypeVar("T")
JOBS = 3
POST_SECONDS = 2.0


def wait_for(look: Callable[[], T | None], site: Site) -> T:
    until = time.monotonic() + 40
    while (found := look()) is None:
        assert time.monotonic() < until, site.logs()
        time.sleep(0.05)
    return found


@contextmanager
def worker(site: Site, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`orchestrator worker` without a broker, with its log in JSON and its metrics on any free port."""
    environment = {key: value for key, value in os.environ.items() if key != "ORCHESTRATOR_BROKER_URL"}
    environment |= {"ORCHESTRATOR_METRICS_ADDRESS": "127.0.0.1:0", "ORCHESTRATOR_LOG_FORMAT": "json"}
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "orchestrator", "worker"],
            cwd=site.folder, env=environment, stdout=subprocess.DEVNULL, stderr=file,
        )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def lines(log: Path) -> list[dict[str, Any]]:
    """The log without its last line, which may not be whole yet, and without what is said to people."""
    return [json.loads(line) for line in log.read_text().split("\n")[:-1] if line.startswith("{")]


def port_of(log: Path) -> str | None:
    said = (re.search(r"on port (\d+)", line["message"]) for line in lines(log))
    return next((found[1] for found in said if found), None)


def test_a_worker_is_ready_leads_and_stops_when_what_it_paid_for_is_recorded(
    tmp_path: Path, database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Sandbox(tmp_path / "sandbox", time_scale=0.02) as sandbox:
        site = make_site(tmp_path, database, database_url, "redis://127.0.0.1:1/0", sandbox, monkeypatch)
        sandbox.play(Faults.of(FaultRule(at="submit", kind="slow", times=None, seconds=POST_SECONDS)))
        manifest = tmp_path / "things.json"
        job = {"model": "gen", "prompt": "A thing", "aspect_ratio": "1:1"}
        jobs = [job | {"id": f"job-{number}"} for number in range(JOBS)]
        manifest.write_text(json.dumps({"version": 1, "name": "things", "jobs": jobs}))
        local = site.settings.model_copy(update={"broker_url": None})
        batch_id = submit(manifest, local, SubmitOptions(detach=True), confirm=lambda _: True)["batch"]
        log = tmp_path / "worker.log"
        with worker(site, log) as process, httpx.Client() as client:
            base = f"http://127.0.0.1:{wait_for(lambda: port_of(log), site)}"
            assert client.get(f"{base}/livez").text == "ok\n"
            assert client.get(f"{base}/readyz").status_code == 200
            assert client.get(f"{base}/").status_code == 404
            wait_for(lambda: "orchestrator_leader 1.0" in client.get(f"{base}/metrics").text or None, site)
            metrics = client.get(f"{base}/metrics").text
            assert re.search(r'^orchestrator_loop_age_seconds\{loop="engine"\} [0-2]\.', metrics, re.MULTILINE)
            assert "orchestrator_workers_alive 1.0" in metrics
            site.wait(batch_id, lambda document: document["jobs"]["submitting"] > 0 and site.stats()["posts"] > 0)
            process.send_signal(signal.SIGTERM)
            wait_for(lambda: "it is stopping" in client.get(f"{base}/readyz").text or None, site)
            assert process.wait(timeout=20) == 0, site.logs()
    counts = site.document(batch_id)["jobs"]
    assert counts["submitting"] == counts["in_doubt"] == counts["pending"] == 0
    events = [LogEvent(line["event"]) for line in lines(log)]
    assert {LogEvent.WORKER_STARTED, LogEvent.LEADER_BEGAN, LogEvent.WORKER_DRAINING} <= set(events)
    assert events[-1] is LogEvent.WORKER_STOPPED
    assert "katana-secret" not in log.read_text()


def test_a_worker_says_why_it_is_not_ready(database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    heartbeats = Heartbeats(lambda: now)
    now, has_broker = 0.0, True
    monitor = Monitor(load_settings(), database, heartbeats, broker_is_there=lambda: has_broker)
    assert monitor.ready() == monitor.live() == []
    has_broker = False
    monitor.drain()
    assert monitor.ready() == ["it is stopping", "the broker is out of reach"]
    with database.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0003'"))
    assert "this release needs" in monitor.ready()[-1]
    gone = Database("postgresql://nobody@127.0.0.1:1/nothing", actor="test")
    assert "cannot be used" in Monitor(load_settings(), gone, heartbeats).ready()[0]
    heartbeats.beat(Loop.ENGINE)
    now = 3600.0
    assert monitor.live() == ["the engine loop is stuck"]
