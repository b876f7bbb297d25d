"""A release is exchanged in the middle of a batch: the one before it goes on working on the new schema."""

import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from orchestrator.sandbox import Sandbox
from orchestrator.store import audit, migrate
from orchestrator.store.database import Database
from orchestrator.store.embedded import EmbeddedPostgres

from ..postgres import new_database

#: The last commit of the release before the one that is worked on (CHANGELOG.md).
PREVIOUS, PREVIOUS_VERSION = "6bb8fb4d0639eb17e3938e9c7fc9064d175bdafe", "0.1.0"
ROOT = Path(__file__).parents[2]
JOBS = 60
#: What is left is worked off with more jobs at once.
FASTER = {"ORCHESTRATOR_MAX_IN_FLIGHT": "16"}


@pytest.fixture(scope="module")
def previous(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The code of the previous release, unpacked."""
    packed = subprocess.run(
        ["git", "-C", str(ROOT), "archive", PREVIOUS, "orchestrator", "migrations", "pyproject.toml"],
        capture_output=True,
        check=False,
    )
    if packed.returncode:
        pytest.skip("the history of this checkout does not have the previous release")
    folder = tmp_path_factory.mktemp("previous")
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
        archive.extractall(folder, filter="data")
    assert version(folder) == PREVIOUS_VERSION != version(ROOT)
    return folder


def version(code: Path) -> str:
    return str(tomllib.loads((code / "pyproject.toml").read_text())["project"]["version"])


@pytest.fixture
def environment(tmp_path: Path, postgres: EmbeddedPostgres) -> Iterator[dict[str, str]]:
    """The settings of both releases: an empty database, and a provider of some tenths of a second a job."""
    with (
        new_database(postgres.url, "rolling", template="template0") as url,
        Sandbox(tmp_path / "sandbox", time_scale=0.05) as sandbox,
    ):
        yield {
            "PATH": os.environ["PATH"],
            "KATANA_BASE_URL": sandbox.base_url,
            "KATANA_API_KEY": "key",
            "KATANA_API_SECRET": "secret",
            "ORCHESTRATOR_HOME": str(tmp_path / "home"),
            "ORCHESTRATOR_DATABASE_URL": url,
            "ORCHESTRATOR_DESTINATION": str(tmp_path / "out"),
            "ORCHESTRATOR_MAX_IN_FLIGHT": "2",
        }


@contextmanager
def running(code: Path, environment: dict[str, str], folder: Path, *command: str) -> Iterator[subprocess.Popen[str]]:
    """`orchestrator COMMAND` of the release whose code is there."""
    process = subprocess.Popen(
        [sys.executable, "-m", "orchestrator", *command], env=environment | {"PYTHONPATH": str(code)}, cwd=folder,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with process:
        try:
            yield process
        finally:
            process.kill()


def output(code: Path, environment: dict[str, str], folder: Path, *command: str) -> str:
    with running(code, environment, folder, *command) as process:
        stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 0, stderr
    return stdout


def test_the_previous_release_does_not_work_on_what_is_being_moved_or_was(
    previous: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    database = Database(environment["ORCHESTRATOR_DATABASE_URL"], actor="tests")
    migrate.upgrade(database)
    row = text("SELECT version_num, oldest_code FROM alembic_version")
    with database.begin() as connection:
        unmarked = connection.execute(row).one()
        for word in ("arriving", "moved"):
            migrate.set_mark(connection, migrate.Mark(word, migrate.head(), "0123456789abcdef"))
    with running(previous, environment, tmp_path, "status") as process:
        _, stderr = process.communicate(timeout=60)
    assert (process.returncode, "newer than this release" in stderr) == (4, True)
    with database.begin() as connection:
        migrate.take_mark_off(connection)
        assert connection.execute(row).one() == unmarked
    database.close()


def test_the_previous_release_goes_on_and_this_one_ends_the_batch(
    previous: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    with closing(Database(environment["ORCHESTRATOR_DATABASE_URL"], actor="tests")) as database:
        assert json.loads(output(previous, environment, tmp_path, "db", "upgrade", "--json")) == {"schema": "0004"}
        item = {"type": "image", "model": "gen", "prompt": "A thing", "aspect_ratio": "1:1"}
        (tmp_path / "things.json").write_text(
            json.dumps({"version": 1, "name": "things", "jobs": [item | {"id": f"job-{n}"} for n in range(JOBS)]})
        )
        with running(previous, environment, tmp_path, "submit", "things.json", "--yes") as working:
            wait_until(lambda: completed(database) >= 1, working)
            assert migrate.upgrade(database) == migrate.head() > "0004"
            reached = completed(database)
            assert reached < JOBS
            wait_until(lambda: completed(database) >= reached + 2, working)
            working.send_signal(signal.SIGTERM)
            assert working.wait(30) == 130, working.stderr and working.stderr.read()
        (left,) = json.loads(output(previous, environment, tmp_path, "status", "--json"))
        assert left["state"] == "running", "the previous release was not stopped in the middle"
        (document,) = json.loads(output(ROOT, environment | FASTER, tmp_path, "resume", "--yes", "--json"))
        assert (document["state"], document["jobs"]["completed"]) == ("completed", JOBS)
        assert document["credits"]["spent"] == str(3 * JOBS)
        with database.begin() as connection:
            assert audit.audit(connection) == []


def completed(database: Database) -> int:
    with database.begin() as connection:
        if connection.execute(text("SELECT to_regclass('job')")).scalar_one() is None:
            return 0
        return int(connection.execute(text("SELECT count(*) FROM job WHERE state = 'completed'")).scalar_one())


def wait_until(reached: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    until = time.monotonic() + 60
    while not reached():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until, "the batch does not go on"
        time.sleep(0.02)
