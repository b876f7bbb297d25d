"""SIGKILL at every boundary: no job is charged twice, none is lost, and only what may have been paid is in doubt."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from sqlalchemy import select

from orchestrator.operations.database import open_database
from orchestrator.sandbox import FaultRule, Faults, Sandbox
from orchestrator.store.database import Database
from orchestrator.store.embedded import data_dir
from orchestrator.store.tables import jobs, submissions

from ..integration.engine_site import Site, make_site

JOBS = 4
WORKER = Path(__file__).with_name("worker.py")
#: Every boundary, and at which visit the process dies. One claim takes all four jobs, and one index is written.
POINTS = [
    ("submit.intended", 1),
    ("submit.sent", 1),
    ("submit.sent", 3),
    ("pay.answered", 1),
    ("pay.answered", 3),
    ("submit.recorded", 1),
    ("submit.recorded", 3),
    ("poll.recorded", 1),
    ("copy.fetched", 1),
    ("copy.uploaded", 1),
    ("copy.uploaded", 3),
    ("copy.stored", 1),
    ("copy.completed", 1),
    ("settle.indexed", 1),
]
#: Killed there, something has been sent of which no answer was recorded.
DOUBTFUL = ("submit.sent", "pay.answered")


@dataclass
class Worker:
    """Runs the killed process with the environment of one site."""

    site: Site
    environment: dict[str, str]

    def start(self, point: str = "-", visit: int = 1) -> "subprocess.Popen[bytes]":
        command = [sys.executable, str(WORKER), point, str(visit)]
        with (self.site.folder / "worker.log").open("ab") as log:
            return subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)

    def run(self, point: str = "-", visit: int = 1) -> int:
        return self.start(point, visit).wait(30)

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


def unanswered(site: Site) -> set[str]:
    """The jobs that were sent and have no answer recorded: the only ones that may come into doubt."""
    query = (
        select(jobs.c.name)
        .join(submissions, submissions.c.id == jobs.c.submission_id)
        .where(submissions.c.state == "sent")
    )
    with site.database.begin() as connection:
        return set(connection.execute(query).scalars())


@pytest.mark.parametrize(("point", "visit"), POINTS)
def test_killed_once_and_resumed(worker: Worker, point: str, visit: int) -> None:
    site = worker.site
    scope = site.make_batch(JOBS)
    assert worker.run(point, visit) == -signal.SIGKILL, worker.log()
    open_ones = unanswered(site)
    assert open_ones or point not in DOUBTFUL
    document = asyncio.run(site.resume(scope))
    found = site.jobs()
    assert {name for name, job in found.items() if job["state"] == "in_doubt"} == open_ones
    assert {job["state"] for job in found.values()} <= {"completed", "in_doubt"}
    assert document["state"] == ("held" if open_ones else "completed")
    assert site.asked("stats")["posts"] <= JOBS
    site.audit()


def test_killed_again_and_again(worker: Worker) -> None:
    """A process that dies at its first visit of each boundary in turn still gets everything done, once."""
    worker.site.make_batch(JOBS)
    open_ones: set[str] = set()
    for point in ("submit.intended", "copy.fetched", "copy.uploaded", "copy.completed", "settle.indexed"):
        worker.run(point)
        open_ones |= unanswered(worker.site)
    assert worker.run() == 0, worker.log()
    assert {job["id"] for job in worker.site.jobs().values() if job["state"] == "in_doubt"} == open_ones
    assert set(worker.site.states()) <= {"completed", "in_doubt"}
    assert worker.site.asked("stats")["posts"] == JOBS
    worker.site.audit()


def test_a_bundle_in_doubt_is_never_sent_again(worker: Worker) -> None:
    worker.site.make_batch(JOBS, bundle=JOBS)
    assert worker.run("pay.answered") == -signal.SIGKILL
    for _ in range(2):
        assert worker.run() == 0, worker.log()
    assert worker.site.states() == ["in_doubt"] * JOBS
    assert worker.site.asked("stats")["posts"] == 1
    worker.site.audit()


def test_a_second_process_takes_over_at_once_while_the_first_one_lives(worker: Worker) -> None:
    """Two at once; the first one is killed in the middle of its paid POSTs."""
    site = worker.site
    site.make_batch(12)
    site.sandbox.play(Faults.of(FaultRule(at="submit", kind="slow", seconds=0.5, times=None)))
    first = worker.start()
    second = worker.start()
    while not site.sandbox.charges():
        time.sleep(0.02)
    first.kill()
    first.wait()
    started = time.monotonic()
    assert second.wait(30) == 0, worker.log()
    assert time.monotonic() - started < 15, "the dead one's leases were not waited for"
    assert set(site.states()) <= {"completed", "in_doubt"}
    assert site.asked("stats")["posts"] <= 12
    site.audit()


def test_sigterm_leaves_nothing_in_doubt(worker: Worker) -> None:
    site = worker.site
    site.make_batch(8)
    site.sandbox.play(Faults.of(FaultRule(at="submit", kind="slow", seconds=0.7, times=None)))
    process = worker.start()
    while not site.sandbox.charges():
        time.sleep(0.02)
    process.terminate()
    assert process.wait(20) != 0
    assert not {"in_doubt", "submitting"} & set(site.states())
    site.audit()
    assert worker.run() == 0, worker.log()
    assert site.states() == ["completed"] * 8
    site.audit()


def test_a_killed_embedded_postgres_is_started_again_and_the_work_goes_on(
    short_tmp: Path, tmp_path: Path, sandbox: Sandbox
) -> None:
    site = make_site(tmp_path, sandbox, None, None)  # type: ignore[arg-type]  # its database is opened below
    settings = site.settings.model_copy(update={"home": short_tmp})
    with open_database(settings) as database:
        site = Site(tmp_path, sandbox, database, settings)
        site.make_batch(8)
        process = make_worker(site).start()
        while not sandbox.charges():
            time.sleep(0.02)
        pid = int((data_dir(short_tmp) / "postmaster.pid").read_text().split()[0])
        psutil.Process(pid).kill()
        assert process.wait(40) == 0, (tmp_path / "worker.log").read_text()
        database.engine.dispose()
        assert set(site.states()) <= {"completed", "in_doubt"}
        assert site.states().count("in_doubt") == 0
        assert site.asked("stats")["posts"] == 8
        site.audit()
    assert not (data_dir(short_tmp) / "postmaster.pid").exists(), "the last one to leave stops it"


def test_everything_is_killed_at_once(short_tmp: Path, tmp_path: Path, sandbox: Sandbox) -> None:
    """Power loss: the worker and its Postgres die together; the next one finds both as they were."""
    site = make_site(tmp_path, sandbox, None, None)  # type: ignore[arg-type]  # its database is opened below
    settings = site.settings.model_copy(update={"home": short_tmp})
    with open_database(settings) as database:
        site = Site(tmp_path, sandbox, database, settings)
        site.make_batch(6)
    worker = make_worker(site)
    process = worker.start("submit.recorded", 3)
    assert process.wait(30) == -signal.SIGKILL
    pid = int((data_dir(settings.home) / "postmaster.pid").read_text().split()[0])
    psutil.Process(pid).kill()
    assert worker.run() == 0, worker.log()
    with open_database(settings) as database:
        site = Site(tmp_path, sandbox, database, settings)
        assert set(site.states()) <= {"completed", "in_doubt"}
        site.audit()
