"""What every measurement stands on: a folder of its own, the fake provider, and servers whose CPU is counted."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import psycopg

from orchestrator.store.embedded import EmbeddedPostgres

_START_SECONDS = 30.0
CAP = 64


@dataclass(frozen=True, slots=True)
class Provider:
    """A running fake provider."""

    url: str
    process: subprocess.Popen[bytes]

    def book(self) -> dict[str, Any]:
        """What it charged, was asked and sent: `jobs` by prompt, `posts`, `max_in_flight`."""
        with urllib.request.urlopen(f"{self.url}/control/book", timeout=30) as answer:
            return dict(json.load(answer))


@dataclass(frozen=True, slots=True)
class Postgres:
    """The embedded server, held up by this process; `dsn` as libpq reads it."""

    home: Path
    url: str

    @property
    def dsn(self) -> str:
        return self.url.replace("postgresql+psycopg://", "postgresql://")

    def write_transactions(self) -> int:
        """How many transaction ids were given out so far: only a transaction that writes takes one."""
        with psycopg.connect(self.dsn) as connection:
            row = connection.execute("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint").fetchone()
        assert row is not None
        return int(row[0])

    def is_durable(self) -> bool:
        """Whether each commit is on the disk before it is told."""
        with psycopg.connect(self.dsn) as connection:
            asked = "SELECT current_setting('fsync'), current_setting('synchronous_commit')"
            return connection.execute(asked).fetchone() == ("on", "on")

    def cpu_seconds(self) -> float:
        """Of the server and all its processes, those that ended included."""
        pid = int(next(iter((self.home / "postgres" / "postmaster.pid").read_text().splitlines())))
        return tree_cpu_seconds(pid)


@dataclass(frozen=True, slots=True)
class Redis:
    """A running Redis."""

    url: str
    pid: int


def tree_cpu_seconds(pid: int) -> float:
    """What a process, its children, and those of its children that ended have used."""
    root = psutil.Process(pid)
    used = root.cpu_times()
    total = used.user + used.system + used.children_user + used.children_system
    for child in root.children(recursive=True):
        try:
            times = child.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


@contextmanager
def workspace() -> Iterator[Path]:
    """A folder that the user of the embedded Postgres may read, gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def provider(
    folder: Path, *, latency: str = "zero", post_delay_seconds: float = 0.0, seed: int = 0
) -> Iterator[Provider]:
    """A fresh provider with an empty book."""
    port_file = folder / "provider.port"
    port_file.unlink(missing_ok=True)
    command = [sys.executable, "-m", "benchmarks.provider", str(port_file), "--latency", latency]
    process = subprocess.Popen([*command, "--post-delay", str(post_delay_seconds), "--seed", str(seed)])
    try:
        give_up_at = time.monotonic() + _START_SECONDS
        while not port_file.exists():
            if time.monotonic() > give_up_at or process.poll() is not None:
                raise RuntimeError("the fake provider does not start")
            time.sleep(0.02)
        yield Provider(f"http://127.0.0.1:{port_file.read_text()}", process)
    finally:
        process.kill()
        process.wait()


@contextmanager
def postgres(folder: Path) -> Iterator[Postgres]:
    """The embedded Postgres in a home of its own, with fsync on."""
    home = folder / "home"
    home.mkdir(mode=0o755, exist_ok=True)
    home.chmod(0o755)
    with EmbeddedPostgres(home) as server:
        held = Postgres(home, server.url)
        if not held.is_durable():
            raise RuntimeError("the embedded Postgres does not write through to the disk")
        yield held


@contextmanager
def redis(folder: Path) -> Iterator[Redis]:
    """A Redis on a free port that keeps nothing on disk."""
    port = _free_port()
    command = ["redis-server", "--port", str(port), "--save", "", "--appendonly", "no", "--bind", "127.0.0.1"]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    try:
        _await_port(port)
        yield Redis(f"redis://127.0.0.1:{port}/0", process.pid)
    finally:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _await_port(port: int) -> None:
    give_up_at = time.monotonic() + _START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > give_up_at:
                raise
            time.sleep(0.02)


def clean_environment() -> dict[str, str]:
    """The environment without settings of the orchestrator or of a peer."""
    prefixes = ("ORCHESTRATOR_", "KATANA_", "BENCH_", "PREFECT_", "DBOS_", "CELERY_", "EVM_", "SVM_")
    return {name: value for name, value in os.environ.items() if not name.startswith(prefixes)}
