"""Deaths that no single boundary stands for: of one process beside another, of Postgres, of everything at once."""

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from orchestrator.operations.database import open_database
from orchestrator.sandbox import FaultRule, Faults, Sandbox
from orchestrator.store.database import Database
from orchestrator.store.embedded import data_dir

from ..integration.engine_site import Site, make_site, site_settings
from .arena import RESUME, End, Running
from .victim import Boundary, Errand

JOBS = 4
#: Exit codes (interface "Exit codes").
HELD_FOR_DOUBT = 5
INTERRUPTED = 130


@dataclass
class Worker:
    """Starts `resume` with the environment of one site."""

    site: Site
    environment: dict[str, str]

    def start(self, die_at: Boundary | None = None) -> Running:
        folder = self.site.folder
        return Running(Errand(RESUME, self.environment, folder, folder / "worker.log", die_at))

    def run(self, die_at: Boundary | None = None) -> End:
        return self.start(die_at).end()

    def log(self) -> str:
        return (self.site.folder / "worker.log").read_text()


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    with Sandbox(tmp_path / "sandbox", time_scale=0.02) as running:
        yield running


def make_worker(site: Site, **more: str) -> Worker:
    ours = {
        "KATANA_BASE_URL": site.sandbox.base_url,
        "KATANA_API_KEY": "key",
        "KATANA_API_SECRET": "secret",
        "ORCHESTRATOR_HOME": str(site.settings.home),
    }
    return Worker(site, dict(os.environ) | ours | more)


@pytest.fixture
def worker(tmp_path: Path, sandbox: Sandbox, database: Database, database_url: str) -> Worker:
    site = make_site(tmp_path, sandbox, database, database_url)
    return make_worker(site, ORCHESTRATOR_DATABASE_URL=database_url)


def test_a_bundle_in_doubt_is_never_sent_again(worker: Worker) -> None:
    worker.site.make_batch(JOBS, bundle=JOBS)
    assert worker.run(Boundary("pay.answered", 1)).was_killed
    for _ in range(2):
        assert worker.run().code == HELD_FOR_DOUBT, worker.log()
    assert worker.site.states() == ["in_doubt"] * JOBS
    assert worker.site.asked("stats")["posts"] == 1
    worker.site.audit()


def may_be_left(site: Site) -> set[str]:
    """The states in which jobs may be after a kill: where more than one is in doubt, the rest is not sent."""
    too_much = site.states().count("in_doubt") > 1
    return {"completed", "in_doubt"} | ({"pending"} if too_much else set())


def test_a_second_process_takes_over_at_once_while_the_first_one_lives(worker: Worker) -> None:
    """Two at once; the first one is killed in the middle of its paid POSTs."""
    site = worker.site
    site.make_batch(12)
    site.sandbox.play(Faults.of(FaultRule(at="submit", kind="slow", seconds=0.5, times=None)))
    first = worker.start()
    second = worker.start()
    while not site.sandbox.charges():
        time.sleep(0.02)
    first.stop(signal.SIGKILL)
    first.end()
    started = time.monotonic()
    assert second.end().code in (0, HELD_FOR_DOUBT), worker.log()
    assert time.monotonic() - started < 15, "the dead one's leases were not waited for"
    assert set(site.states()) <= may_be_left(site)
    assert site.asked("stats")["posts"] <= 12
    site.audit()


def test_sigterm_leaves_nothing_in_doubt(worker: Worker) -> None:
    site = worker.site
    site.make_batch(8)
    site.sandbox.play(Faults.of(FaultRule(at="submit", kind="slow", seconds=0.7, times=None)))
    process = worker.start()
    while not site.sandbox.charges():
        time.sleep(0.02)
    process.stop(signal.SIGTERM)
    assert process.end().code == INTERRUPTED
    assert not {"in_doubt", "submitting"} & set(site.states())
    site.audit()
    assert worker.run().code == 0, worker.log()
    assert site.states() == ["completed"] * 8
    site.audit()


def test_a_killed_embedded_postgres_is_started_again_and_the_work_goes_on(
    short_tmp: Path, tmp_path: Path, sandbox: Sandbox
) -> None:
    settings = site_settings(tmp_path, sandbox, home=short_tmp)
    with open_database(settings) as database:
        site = Site(tmp_path, sandbox, database, settings)
        site.make_batch(8)
        process = make_worker(site).start()
        while not sandbox.charges():
            time.sleep(0.02)
        pid = int((data_dir(short_tmp) / "postmaster.pid").read_text().split()[0])
        psutil.Process(pid).kill()
        assert process.end().code == 0, (tmp_path / "worker.log").read_text()
        database.engine.dispose()
        assert set(site.states()) <= may_be_left(site)
        assert site.states().count("in_doubt") == 0
        assert site.asked("stats")["posts"] == 8
        site.audit()
    assert not (data_dir(short_tmp) / "postmaster.pid").exists(), "the last one to leave stops it"


def test_everything_is_killed_at_once(short_tmp: Path, tmp_path: Path, sandbox: Sandbox) -> None:
    """Power loss: the worker and its Postgres die together; the next one finds both as they were."""
    settings = site_settings(tmp_path, sandbox, home=short_tmp)
    with open_database(settings) as database:
        site = Site(tmp_path, sandbox, database, settings)
        site.make_batch(6)
    worker = make_worker(site)
    assert worker.run(Boundary("ask.answered", 3)).was_killed
    pid = int((data_dir(settings.home) / "postmaster.pid").read_text().split()[0])
    psutil.Process(pid).kill()
    assert worker.run().code in (0, HELD_FOR_DOUBT), worker.log()
    with open_database(settings) as database:
        site = Site(tmp_path, sandbox, database, settings)
        assert set(site.states()) <= may_be_left(site)
        site.audit()
