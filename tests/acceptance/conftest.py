"""The command line as its users have it: real processes, each module with a home of its own."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from orchestrator.sandbox import Sandbox
from orchestrator.store.embedded import EmbeddedPostgres

from .. import forked
from ..postgres import wait_for_no_disk

#: Few enough settings that a test sees only what it says.
_KEPT = ("PATH", "LANG", "LC_ALL", "TMPDIR", "HOME", "SSL_CERT_FILE")
CREDENTIALS = {"KATANA_API_KEY": "acceptance-key", "KATANA_API_SECRET": "acceptance-secret"}
MUG = {"id": "mug", "model": "gpt-image-2", "prompt": "A ceramic mug", "aspect_ratio": "1:1"}


@dataclass(frozen=True)
class Result:
    """What one command left behind."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """The one document on stdout."""
        return json.loads(self.stdout)


@dataclass(frozen=True)
class Cli:
    """Runs commands in one home and one working folder."""

    home: Path
    folder: Path
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def environment(self, extra: dict[str, str] | None = None) -> dict[str, str]:
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        return kept | {"ORCHESTRATOR_HOME": str(self.home)} | (extra or {})

    def start(self, *arguments: str, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
        """A command under way, without a terminal."""
        process = subprocess.Popen(
            [sys.executable, "-m", "orchestrator", *arguments],
            env=self.environment(env),
            cwd=self.folder,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.started.append(process)
        return process

    def __call__(self, *arguments: str, env: dict[str, str] | None = None, seconds: float = 60) -> Result:
        """A command run to its end; no traceback is ever shown."""
        output = forked.run(arguments, environment=self.environment(env), folder=self.folder, timeout_seconds=seconds)
        return _result(*output)

    def manifest(self, name: str, jobs: Sequence[dict[str, Any]], **keys: Any) -> str:
        """A manifest of this name in the working folder; returns its file name."""
        document = {"version": 1, "name": name, "jobs": list(jobs), **keys}
        (self.folder / f"{name}.json").write_text(json.dumps(document))
        return f"{name}.json"


def finish(process: subprocess.Popen[str], timeout_seconds: float = 60) -> Result:
    """The result of a started command."""
    try:
        stdout, stderr = process.communicate(timeout=timeout_seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        raise
    return _result(process.returncode, stdout, stderr)


def _result(code: int, stdout: str, stderr: str) -> Result:
    assert "Traceback" not in stdout + stderr
    return Result(code, stdout, stderr)


@contextmanager
def _new_cli() -> Iterator[Cli]:
    """A home under a path short enough for Postgres' socket and open to its user."""
    root = Path(tempfile.mkdtemp(prefix="ko-cli-"))
    root.chmod(0o755)
    for name in ("home", "work"):
        (root / name).mkdir()
    opened = Cli(root / "home", root / "work")
    yield opened
    for process in opened.started:
        with process:  # closes its pipes
            process.kill()  # where a test failed half-way
    shutil.rmtree(root, ignore_errors=True)


@pytest.fixture
def fresh_cli() -> Iterator[Cli]:
    """A home in which nothing ever ran."""
    with _new_cli() as opened:
        yield opened


@pytest.fixture(scope="module")
def cli() -> Iterator[Cli]:
    """A home of this module's own, whose database is kept running so that commands start sooner."""
    with _new_cli() as opened, EmbeddedPostgres(opened.home) as server:
        wait_for_no_disk(server)
        yield opened


@pytest.fixture(scope="module")
def provider() -> Iterator[Sandbox]:
    """A provider that answers at once, for commands that pay."""
    folder = Path(tempfile.mkdtemp(prefix="ko-provider-"))
    with Sandbox(folder, time_scale=0.0) as sandbox:
        yield sandbox
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def account(provider: Sandbox) -> dict[str, str]:
    """The environment in which `provider` is paid."""
    return {"KATANA_BASE_URL": provider.base_url, **CREDENTIALS}
