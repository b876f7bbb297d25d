"""A whole installation of real processes: provider, Postgres, Redis, an S3 server, two workers and beat."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import boto3
import httpx
import psutil
import yaml
from botocore.exceptions import BotoCoreError, ClientError
from sqlalchemy import text

from orchestrator.base.errors import Unusable
from orchestrator.sandbox.asset_urls import TWO_MARKER
from orchestrator.store import migrate
from orchestrator.store.database import Database
from orchestrator.store.embedded import EmbeddedPostgres, data_dir

from ..integration.redis_server import RedisServer, free_port
from .processes import Child

SECRET = "chaos-secret-not-to-be-stored"
#: The key of nobody's wallet.
EVM_KEY = "c4" * 32
_BUCKET = "chaos"
_READY_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Movement:
    """What the provider booked, in credits or in USDC."""

    kind: Literal["charge", "refund"]
    prompt: str
    credits: Decimal
    usdc: Decimal


@dataclass(frozen=True, slots=True)
class Settled:
    """A signed payment that the provider has settled; `amount` is in atomic USDC."""

    network: str
    payer: str
    amount: int
    nonce: str


class Site:
    """Everything that a mishap can befall."""

    def __init__(self, folder: Path, postgres: EmbeddedPostgres, redis: RedisServer) -> None:
        self.folder = folder
        self._postgres = postgres
        self.redis = redis
        self._clock_offset_seconds = 0
        self._submitted = 0
        self.database = Database(postgres.url, actor="chaos")
        provider, store = free_port(), free_port()
        self.provider_url = f"http://127.0.0.1:{provider}"
        self._store_url = f"http://127.0.0.1:{store}"
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("ORCHESTRATOR_", "KATANA_"))},
            "KATANA_BASE_URL": self.provider_url,
            "KATANA_API_KEY": "chaos",
            "KATANA_API_SECRET": SECRET,
            "EVM_PRIVATE_KEY": EVM_KEY,
            "BASE_RPC_URL": f"{self.provider_url}/rpc/base",
            "ORCHESTRATOR_HOME": str(folder / "home"),
            "ORCHESTRATOR_DATABASE_URL": postgres.url,
            "ORCHESTRATOR_BROKER_URL": redis.url,
            "ORCHESTRATOR_DESTINATION": f"s3://{_BUCKET}/out",
            "ORCHESTRATOR_MAX_IN_FLIGHT": "8",
            "ORCHESTRATOR_STALL_AFTER": "20",
            "ORCHESTRATOR_REQUEST_LOST_AFTER": "120",
            "AWS_ENDPOINT_URL_S3": self._store_url,
            "AWS_ACCESS_KEY_ID": "chaos",
            "AWS_SECRET_ACCESS_KEY": "chaos",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        sandbox = ["-m", "orchestrator", "sandbox", "--port", str(provider), "--time-scale", "0.1"]
        self.provider = self._child("provider", *sandbox, "--state", str(folder / "provider"))
        self.store = self._child("store", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(store))
        self.beat = self._child("beat", "-m", "celery", "-A", "workers", "beat")
        self.workers = [
            self._child(f"worker{n}", "-m", "celery", "-A", "workers", "worker", "--hostname", f"{n}@chaos")
            for n in (1, 2)
        ]

    @property
    def children(self) -> list[Child]:
        return [self.provider, self.store, self.beat, *self.workers]

    def start(self) -> None:
        """Start everything that does not run, and wait until provider and store answer."""
        self.start_postgres()
        if not self.redis.runs:
            self.redis.start()
        for child in self.children:
            child.thaw()
            child.start()
        for url in (f"{self.provider_url}/sandbox/stats", self._store_url):
            _wait_for(url)

    def make_bucket(self) -> None:
        self._s3().create_bucket(Bucket=_BUCKET)

    def start_postgres(self) -> None:
        """Start it where it does not run; tried again while what was killed is still dying."""
        until = time.monotonic() + _READY_SECONDS
        while True:
            try:
                self._postgres.ensure_running()
                return
            except Unusable:
                if time.monotonic() > until:
                    raise
                time.sleep(0.5)

    def kill_postgres(self) -> None:
        """SIGKILL to the postmaster; its children follow it."""
        pid = int((data_dir(self.folder / "home") / "postmaster.pid").read_text().split()[0])
        psutil.Process(pid).kill()

    def advance_clock(self, seconds: int) -> None:
        """Let the database's clock run ahead: leases end, and 15 minutes pass at once."""
        self._clock_offset_seconds += seconds
        with self.database.begin() as connection:
            connection.execute(
                text(
                    "CREATE OR REPLACE FUNCTION orchestrator_now() RETURNS timestamptz LANGUAGE sql STABLE AS "
                    f"'SELECT statement_timestamp() + interval ''{self._clock_offset_seconds} seconds'''"
                )
            )

    def orchestrator(self, *arguments: str, seconds: float = 60) -> "subprocess.CompletedProcess[str]":
        """One command of ours; its failures are part of the game."""
        return subprocess.run(
            [sys.executable, "-m", "orchestrator", *arguments],
            env=self.environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    def submit(
        self, jobs: int, *, bundle: int, budget: int | None, payment: str = "credits"
    ) -> "subprocess.CompletedProcess[str]":
        """Submit a batch of its own collection; every prompt is the only one of its kind."""
        self._submitted += 1
        name = f"batch-{self._submitted}"
        manifest: dict[str, Any] = {
            "version": 1,
            "name": name,
            "bundle": bundle,
            "payment": payment,
            "defaults": {"type": "image", "model": "gen", "aspect_ratio": "1:1", "output_format": "png"},
            "jobs": [
                {"id": f"job-{n}", "prompt": f"{name}: thing {n}{TWO_MARKER if n % 4 == 3 else ''}"}
                for n in range(jobs)
            ],
        }
        if budget is not None:
            manifest["budget"] = {"credits": budget}
        path = self.folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump(manifest))
        return self.orchestrator("submit", str(path), "--yes", "--json")

    def play(self, *rules: dict[str, Any]) -> None:
        """Put these faults in force at the provider, in place of those before; nothing where it does not answer."""
        try:
            httpx.post(f"{self.provider_url}/sandbox/faults", json={"rules": rules}, timeout=5).raise_for_status()
        except httpx.TransportError:
            return

    def movements(self) -> list[Movement]:
        """The provider's own ledger."""
        entries = httpx.get(f"{self.provider_url}/sandbox/ledger", timeout=30).json()["entries"]
        return [
            Movement(entry["kind"], entry["prompt"], Decimal(entry["credits"] or 0), Decimal(entry["usdc"] or 0))
            for entry in entries
        ]

    def settlements(self) -> list[Settled]:
        """The signed payments that the provider has settled."""
        paid = httpx.get(f"{self.provider_url}/sandbox/payments", timeout=30).json()["payments"]
        return [Settled(one["network"], one["payer"], int(one["amount"]), one["nonce"]) for one in paid]

    def batches(self) -> dict[str, str]:
        """The state of every batch."""
        with self.database.begin() as connection:
            return {row.id: row.state for row in connection.execute(text("SELECT id, state FROM batch"))}

    def job_states(self) -> dict[str, int]:
        with self.database.begin() as connection:
            query = text("SELECT state, count(*) AS n FROM job GROUP BY state ORDER BY state")
            return {row.state: row.n for row in connection.execute(query)}

    def read_file(self, uri: str) -> bytes | None:
        """An object of the destination, None where there is none."""
        parts = urlsplit(uri)
        try:
            found = self._s3().get_object(Bucket=parts.netloc, Key=parts.path.lstrip("/"))
            return bytes(found["Body"].read())
        except (BotoCoreError, ClientError):
            return None

    def _child(self, name: str, *arguments: str) -> Child:
        return Child(name, [sys.executable, *arguments], self.environment, self.folder)

    def _s3(self) -> Any:
        return boto3.client(
            "s3",
            endpoint_url=self._store_url,
            aws_access_key_id="chaos",
            aws_secret_access_key="chaos",
            region_name="us-east-1",
        )


def _wait_for(url: str) -> None:
    until = time.monotonic() + _READY_SECONDS
    while True:
        try:
            httpx.get(url, timeout=2)
            return
        except httpx.TransportError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)


@contextmanager
def make_site() -> Iterator[Site]:
    """A site in a folder of its own, taken down and removed at the end (kept when something raised)."""
    folder = Path(tempfile.mkdtemp(prefix="ko-chaos-"))
    folder.chmod(0o755)
    (folder / "home").mkdir()
    with EmbeddedPostgres(folder / "home") as postgres, RedisServer(folder) as redis:
        site = Site(folder, postgres, redis)
        migrate.upgrade(site.database)
        try:
            yield site
        finally:
            for child in site.children:
                child.kill()
            site.database.close()
    shutil.rmtree(folder, ignore_errors=True)


def summary(site: Site) -> str:
    """What became of it, in one line."""
    kinds = [movement.kind for movement in site.movements()]
    states = json.dumps(site.job_states())
    return f"{states}; the provider booked {kinds.count('charge')} charges and {kinds.count('refund')} refunds"
