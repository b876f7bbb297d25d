"""The index of a collection: all of its batches, and never a sandbox's in place of what was paid for."""

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from orchestrator.base import faults
from orchestrator.base.states import Decision
from orchestrator.engine.settle import settle
from orchestrator.operations.opening import open_engine
from orchestrator.operations.submitting import SubmitOptions, submit
from orchestrator.sandbox import Sandbox
from orchestrator.store import reviews
from orchestrator.store.accounts import Scope
from orchestrator.store.database import Database
from orchestrator.store.tables import batches

from .engine_site import Site, make_site

REAL = SubmitOptions()
SANDBOX = SubmitOptions(sandbox=True)


@pytest.fixture
def site(tmp_path: Path, database: Database, database_url: str) -> Iterator[Site]:
    with Sandbox(tmp_path / "sandbox", time_scale=0.0) as sandbox:
        yield make_site(tmp_path, sandbox, database, database_url, destination=str(tmp_path / "out"))


@pytest.fixture(autouse=True)
def no_fault_hook() -> Iterator[None]:
    yield
    faults.install(None)


def run(site: Site, options: SubmitOptions, **prompts: str) -> dict[str, Any]:
    """Run a batch of the collection `things` with one image for each prompt."""
    file = site.folder / "things.json"
    jobs = [{"id": name, "model": "gen", "prompt": text, "aspect_ratio": "1:1"} for name, text in prompts.items()]
    file.write_text(json.dumps({"version": 1, "name": "things", "jobs": jobs}))
    return submit(file, site.settings, options, confirm=lambda _: True)


def index(site: Site, name: str = "index.json") -> dict[str, Any]:
    document = json.loads((site.out / "things" / name).read_text())
    assert isinstance(document, dict)
    return document


def prompts(document: dict[str, Any]) -> dict[str, str]:
    return {asset["job"]: asset["prompt"] for asset in document["assets"]}


def test_the_index_lists_what_the_manifest_names_and_the_newest_wins(site: Site) -> None:
    run(site, REAL, cup="A cup", mug="A mug")
    run(site, REAL, mug="A better mug", jug="A jug", bad="Bad [sandbox:fail]")
    assert prompts(index(site)) == {"mug": "A better mug", "jug": "A jug"}
    run(site, REAL, mug="No mug [sandbox:fail]", cup="A cup")
    assert prompts(index(site)) == {"mug": "A better mug", "cup": "A cup"}


def test_a_sandbox_never_replaces_the_index_of_what_was_paid_for(site: Site) -> None:
    run(site, SANDBOX, mug="A mug")
    assert (index(site)["sandbox"], prompts(index(site))) == (True, {"mug": "A mug"})
    run(site, REAL, cup="A cup")
    assert (index(site)["sandbox"], prompts(index(site))) == (False, {"cup": "A cup"})
    run(site, SANDBOX, mug="Another mug")
    assert (index(site)["sandbox"], prompts(index(site))) == (False, {"cup": "A cup"})
    assert prompts(index(site, "index.sandbox.json")) == {"mug": "Another mug"}
    assert (site.out / "things" / "index.sandbox.csv").exists()


def test_an_index_is_written_again_when_another_batch_ended_meanwhile(site: Site) -> None:
    """Between the writing of one batch's index and its being recorded, another batch ends and writes its own."""
    first = run(site, REAL, mug="A mug")["batch"]
    path = site.out / "things" / "index.json"
    others: list[threading.Thread] = []

    def end_another_batch(point: str) -> None:
        if point == "folder.named" and not others:
            stale = path.read_bytes()
            others.append(threading.Thread(target=run, args=[site, REAL], kwargs={"mug": "A mug", "cup": "A cup"}))
            others[0].start()
            others[0].join()
            path.write_bytes(stale)

    faults.install(end_another_batch)
    asyncio.run(index_again(site, first))
    assert prompts(index(site)) == {"mug": "A mug", "cup": "A cup"}


def test_a_review_while_the_index_is_written_is_in_it(site: Site) -> None:
    """No batch moves on by it, and the index that is just being written was read before."""
    batch = run(site, REAL, mug="A mug", cup="A cup")["batch"]
    rejected: list[int] = []

    def reject(point: str) -> None:
        if point == "folder.named" and not rejected:
            with site.database.begin() as connection:
                (mug,) = (job for job in reviews.reviewable_jobs(connection, batch) if job.name == "mug")
                rejected.append(mug.origin_pk)
                no = reviews.NewReview(mug.origin_pk, Decision.REJECT, mug.asset_sha256, None)
                reviews.record_reviews(connection, [no])
                reviews.write_index_anew(connection, batch)

    faults.install(reject)
    asyncio.run(index_again(site, batch))
    assert rejected
    assert prompts(index(site)) == {"cup": "A cup"}


async def index_again(site: Site, batch_id: str) -> None:
    with site.database.begin() as connection:
        due = update(batches).where(batches.c.id == batch_id).values(index_due=True).returning(batches.c.account_pk)
        account_pk = connection.execute(due).scalar_one()
    async with open_engine(site.settings, site.database, site.provider, Scope(account_pk, (batch_id,))) as engine:
        await settle(engine)
