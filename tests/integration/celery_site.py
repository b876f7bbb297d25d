"""A whole installation for one test: sandbox, database, Redis, and real `celery` processes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from celery import Celery

from orchestrator.base.settings import Settings, load_settings
from orchestrator.operations.submitting import submit
from orchestrator.sandbox import Sandbox
from orchestrator.store import reads
from orchestrator.store.database import Database
from workers.kinds import KINDS

PRICE = Decimal(3)  # of one image of model gen


@dataclass
class Site:
    """What a test works with."""

    folder: Path
    sandbox: Sandbox
    database: Database
    settings: Settings

    def submit(self, jobs: int | list[dict[str, Any]], **keys: Any) -> str:
        """Submit a batch of so many images, or of these jobs, its manifest with these `keys`, and return its id."""
        manifest = self.folder / "batch.yaml"
        items = jobs
        if isinstance(jobs, int):
            items = [{"id": f"job-{number}", "prompt": f"Thing number {number}"} for number in range(jobs)]
        defaults = {"type": "image", "model": "gen", "aspect_ratio": "1:1", "output_format": "png"}
        head = {"version": 1, "name": "things", "defaults": defaults}
        manifest.write_text(yaml.safe_dump(head | keys | {"jobs": items}))
        document = submit(manifest, self.settings, confirm=lambda _: True)
        assert document["state"] == "running"
        return str(document["batch"])

    def document(self, batch_id: str) -> dict[str, Any]:
        with self.database.begin() as connection:
            return reads.batch_document(connection, batch_id)

    def wait(self, batch_id: str, reached: Callable[[dict[str, Any]], bool], *, seconds: float = 90) -> dict[str, Any]:
        """The batch's document once it is as wanted."""
        until = time.monotonic() + seconds
        while not reached(document := self.document(batch_id)):
            assert time.monotonic() < until, f"{document['state']}: {document['jobs']}\n{self.logs()}"
            time.sleep(0.05)
        return document

    def wait_stored(self, batch_id: str, jobs: int) -> dict[str, Any]:
        """The batch's document once that many jobs are stored."""
        return self.wait(batch_id, lambda document: document["jobs"]["completed"] >= jobs)

    def wait_ended(self, batch_id: str) -> dict[str, Any]:
        """The batch's document once nothing of it moves any more."""
        return self.wait(batch_id, lambda document: document["state"] != "running")

    def hint_at_everything(self) -> None:
        """Send a hint of each kind, as anyone may at any time."""
        assert self.settings.broker_url is not None
        with Celery(broker=self.settings.broker_url.get_secret_value()) as sender:
            sender.conf.broker_transport_options = {"global_keyprefix": "katana-orchestrator:"}
            for kind in KINDS:
                sender.send_task(kind, queue=kind)

    def stats(self) -> dict[str, Any]:
        return dict(httpx.get(f"{self.sandbox.base_url}/sandbox/stats").json())

    def charged(self) -> Decimal:
        """What the provider took."""
        return sum((entry.credits for entry in self.sandbox.charges()), Decimal(0))

    def originals(self) -> list[Path]:
        """The stored originals, named by their place and their hash."""
        return list((self.folder / "out").glob("things/*/0-????????.png"))

    def logs(self) -> str:
        return "\n".join(f"--- {path.name}\n{path.read_text()[-4000:]}" for path in self.folder.glob("*.log"))

    @contextmanager
    def celery(self, *arguments: str, name: str) -> Iterator[subprocess.Popen[bytes]]:
        """A `celery -A workers ...` process, killed at the end if it still runs."""
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "celery", "-A", "workers", *arguments],
                cwd=self.folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    @contextmanager
    def worker(self, *arguments: str, name: str = "worker") -> Iterator[subprocess.Popen[bytes]]:
        """A worker of all kinds."""
        with self.celery("worker", "--hostname", f"{name}@test", *arguments, name=name) as process:
            yield process


def make_site(
    folder: Path,
    database: Database,
    database_url: str,
    broker_url: str,
    sandbox: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
) -> Site:
    """A site whose settings are in the environment, for this process and those it starts."""
    own = {
        "KATANA_BASE_URL": sandbox.base_url,
        "KATANA_API_KEY": "key",
        "KATANA_API_SECRET": "katana-secret",
        "ORCHESTRATOR_HOME": str(folder / "home"),
        "ORCHESTRATOR_DATABASE_URL": database_url,
        "ORCHESTRATOR_BROKER_URL": broker_url,
        "ORCHESTRATOR_DESTINATION": str(folder / "out"),
        "ORCHESTRATOR_MAX_IN_FLIGHT": "6",
    }
    for name, value in own.items():
        monkeypatch.setenv(name, value)
    return Site(folder, sandbox, database, load_settings())
