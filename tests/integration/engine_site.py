"""A batch, a sandbox and a destination for tests of the engine, and the audit that every scenario ends with."""

import asyncio
import hashlib
from collections import defaultdict
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx
from sqlalchemy import select

from orchestrator.base.money import ZERO
from orchestrator.base.settings import Settings, load_settings
from orchestrator.catalog.bundled import bundled_catalog
from orchestrator.engine.local import LocalDriver
from orchestrator.operations.opening import Provider, open_engine
from orchestrator.payments.credits import payer_of
from orchestrator.planner.result import PlannedJob
from orchestrator.sandbox import FaultRule, Faults, Sandbox
from orchestrator.store import accounts, batches, creating, job_reads, reads
from orchestrator.store.accounts import Scope
from orchestrator.store.database import Database
from orchestrator.store.tables import assets, jobs

PRICE = Decimal(3)  # of one image of model gen
BATCH = "things-20261122-0001"


@dataclass
class Site:
    """What a scenario works with."""

    folder: Path
    sandbox: Sandbox
    database: Database
    settings: Settings

    @property
    def out(self) -> Path:
        return self.folder / "out"

    @property
    def provider(self) -> Provider:
        return Provider(self.sandbox.base_url, self.sandbox.base_url, payer_of("key", "secret"))

    def make_batch(
        self, prompts: list[str] | int = 4, *, budget: int | None = None, bundle: int = 1, **item: Any
    ) -> Scope:
        """Store a batch of image jobs; every prompt is told apart by its number."""
        words = [f"A thing {n}" for n in range(prompts)] if isinstance(prompts, int) else prompts
        bodies = [
            {"type": "image", "model": "gen", "prompt": f"{word} #{n}", "aspect_ratio": "1:1", "output_format": "png"}
            | item
            for n, word in enumerate(words)
        ]
        planned = [PlannedJob(n, f"job-{n}", "image", "gen", body, {}, PRICE) for n, body in enumerate(bodies)]
        return self.store(planned, budget=budget, bundle=bundle)

    def store(
        self, planned: list[PlannedJob], *, budget: int | None = None, bundle: int = 1, canary: int | None = None
    ) -> Scope:
        """Store a batch of these jobs."""
        with self.database.begin() as connection:
            account_pk = accounts.account_pk(connection, self.provider.origin, self.provider.account)
            creating.create_batch(
                connection,
                creating.NewBatch(
                    id=BATCH,
                    name="things",
                    sandbox=False,
                    account_pk=account_pk,
                    destination=self.out.as_uri(),
                    media=str(self.folder / "media"),
                    key="{name}/{job}/{index}-{sha8}{ext}",
                    bundle=bundle,
                    labels={},
                    manifest=str(self.folder / "things.yaml"),
                    catalog=bundled_catalog(),
                    estimated=sum((job.estimate for job in planned), ZERO),
                    budget=None if budget is None else Decimal(budget),
                    usd_per_credit=Decimal("0.0052"),
                    jobs=planned,
                    canary=canary,
                ),
            )
        return Scope(account_pk, (BATCH,))

    def play(self, *rules: FaultRule) -> None:
        self.sandbox.play(Faults.of(*rules))

    async def run(self, scope: Scope, *, seconds: float = 30) -> dict[str, Any]:
        """Work the batch until nothing of it moves any more; its document."""
        async with asyncio.timeout(seconds), open_engine(self.settings, self.database, self.provider, scope) as engine:
            await LocalDriver(engine).run()
        return self.document()

    async def resume(self, scope: Scope, *, seconds: float = 30) -> dict[str, Any]:
        with self.database.begin() as connection:
            batches.resume_batch(connection, BATCH)
        return await self.run(scope, seconds=seconds)

    def document(self) -> dict[str, Any]:
        with self.database.begin() as connection:
            return reads.batch_document(connection, BATCH)

    def jobs_of(self, batch_id: str) -> list[dict[str, Any]]:
        """The `jobs` document of any batch."""
        with self.database.begin() as connection:
            return job_reads.job_documents(connection, batch_id)

    def jobs(self) -> dict[str, dict[str, Any]]:
        with self.database.begin() as connection:
            return {job["id"]: job for job in job_reads.job_documents(connection, BATCH)}

    def states(self) -> list[str]:
        return [job["state"] for job in self.jobs().values()]

    def asked(self, what: str) -> Any:
        """What the sandbox's own control endpoint says."""
        return httpx.get(f"{self.sandbox.base_url}/sandbox/{what}").json()

    def net_by_job(self) -> dict[str, list[Decimal]]:
        """Each job's charges less its refund, as the provider booked them."""
        with self.database.begin() as connection:
            prompts = {row.item["prompt"]: row.name for row in connection.execute(select(jobs.c.item, jobs.c.name))}
        booked: dict[str, list[Decimal]] = defaultdict(list)
        for entry in self.sandbox.ledger():
            booked[prompts[entry.prompt]].append(entry.credits if entry.kind == "charge" else -entry.credits)
        return booked

    def audit(self) -> None:
        """Nothing was paid twice, what was paid is what we say was spent, and every stored file is the provider's."""
        booked = self.net_by_job()
        for name, job in self.jobs().items():
            movements = booked.get(name, [])
            assert sum(amount > 0 for amount in movements) <= 1, f"{name} was charged twice"
            spent, estimated = job["credits"]["spent"], Decimal(job["credits"]["estimated"])
            match job["state"]:
                case "in_doubt":
                    assert sum(movements) <= estimated
                case "submitting" | "generating":
                    pass
                case _:
                    assert sum(movements) == Decimal(spent or 0), f"{name}: {movements} booked, {spent} spent"
            assert job["assets"] or job["state"] != "completed"  # one that failed may have stored some of its files
        self._audit_files()

    def _audit_files(self) -> None:
        self.play()
        with self.database.begin() as connection:
            stored = connection.execute(select(assets).where(assets.c.stored_at.is_not(None))).all()
        for row in stored:
            path = Path(unquote(urlsplit(row.uri).path))
            assert hashlib.sha256(path.read_bytes()).hexdigest() == row.sha256
            theirs = httpx.get(row.source_url)
            if theirs.status_code == 200:  # else it has expired meanwhile
                assert hashlib.sha256(theirs.content).hexdigest() == row.sha256
            assert path.stat().st_size == row.bytes
        if "copying" not in self.states():
            waiting = [path.name for path in (self.settings.home / "spool").iterdir() if path.suffix != ".part"]
            assert waiting == [], "nothing waits in the spool; the parts of a killed process are swept after a day"


def make_site(folder: Path, sandbox: Sandbox, database: Database, database_url: str, **settings: Any) -> Site:
    return Site(folder, sandbox, database, site_settings(folder, sandbox, database_url=database_url, **settings))


def site_settings(folder: Path, sandbox: Sandbox, **settings: Any) -> Settings:
    return load_settings(
        katana_base_url=sandbox.base_url,
        katana_api_key="key",
        katana_api_secret="secret",
        **{"home": folder / "home"} | settings,
    )
