"""Pruning forgets what is old, and nothing that a collection, its index or the books need."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, update

from orchestrator.operations import looking, pruning
from orchestrator.operations.submitting import SubmitOptions, submit
from orchestrator.sandbox import Sandbox
from orchestrator.store.audit import audit
from orchestrator.store.database import Database
from orchestrator.store.tables import assets, events, jobs

from .engine_site import Site, make_site


@pytest.fixture
def site(tmp_path: Path, database: Database, database_url: str) -> Iterator[Site]:
    with Sandbox(tmp_path / "sandbox", time_scale=0.0) as sandbox:
        yield make_site(tmp_path, sandbox, database, database_url, destination=str(tmp_path / "out"))


def run(site: Site, **prompts: str) -> dict[str, Any]:
    file = site.folder / "things.json"
    jobs = [{"id": name, "model": "gen", "prompt": text, "aspect_ratio": "1:1"} for name, text in prompts.items()]
    file.write_text(json.dumps({"version": 1, "name": "things", "jobs": jobs}))
    return submit(file, site.settings, SubmitOptions(), confirm=lambda _: True)


def count(site: Site, table: Any) -> int:
    with site.database.begin() as connection:
        return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


def test_what_is_forgotten_was_needed_by_nobody(site: Site) -> None:
    first = run(site, mug="A mug", cup="A cup")
    run(site, mug="A mug", cup="A cup")
    run(site, mug="A better mug", cup="A cup")
    last = run(site, mug="A better mug", cup="Cup [sandbox:fail]")
    index = (site.out / "things" / "index.json").read_bytes()
    held = count(site, assets)
    untouched = {"copies": 0, "events": 0, "notifications": 0, "sandboxes": 0, "inputs": 0}
    assert pruning.prune(site.settings, 3600) == untouched
    forgotten = pruning.prune(site.settings, 0)
    assert forgotten["copies"] > 0
    assert (count(site, events), count(site, assets)) == (0, held - forgotten["copies"])
    assert looking.jobs(first["batch"], site.settings)[0]["assets"]
    assert last["state"] == "partial_failure"
    again = run(site, mug="A mug", cup="A cup")
    assert (again["reused"], again["credits"]["spent"]) == (2, "0")
    run(site, mug="A better mug", cup="Cup [sandbox:fail]")
    assert (site.out / "things" / "index.json").read_bytes() == index
    with site.database.begin() as connection:
        assert audit(connection) == []


def test_a_sandbox_is_cleared_away_and_its_results_stay(site: Site) -> None:
    file = site.folder / "things.json"
    run(site, mug="A mug")
    sandbox = SubmitOptions(sandbox=True)
    first = submit(file, site.settings, sandbox, confirm=lambda _: True)
    assert (site.settings.home / "sandbox" / first["batch"]).is_dir()
    assert pruning.prune(site.settings, 0)["sandboxes"] == 1
    assert not (site.settings.home / "sandbox" / first["batch"]).exists()
    assert submit(file, site.settings, sandbox, confirm=lambda _: True)["reused"] == 1


def test_jobs_without_a_fingerprint_get_theirs_before_anything_is_bought_again(site: Site) -> None:
    run(site, mug="A mug")
    with site.database.begin() as connection:
        connection.execute(update(jobs).values(fingerprint=None))
    assert run(site, mug="A mug")["reused"] == 1
