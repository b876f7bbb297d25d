"""What was confirmed is what is sent, whatever becomes of the manifest and its files between plan, submit and run."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from sqlalchemy import select

from orchestrator.assets.errors import DestinationFailed
from orchestrator.catalog.bundled import bundled_catalog
from orchestrator.operations.looking import jobs as list_jobs
from orchestrator.operations.resuming import resume
from orchestrator.operations.submitting import SubmitOptions, submit
from orchestrator.planner.result import Plan
from orchestrator.sandbox import Sandbox
from orchestrator.store.database import Database
from orchestrator.store.tables import batches, submissions

from .engine_site import Site, make_site

DETACHED = SubmitOptions(detach=True, again=True)


@pytest.fixture
def site(tmp_path: Path, database: Database, database_url: str) -> Iterator[Site]:
    with Sandbox(tmp_path / "sandbox", time_scale=0.01) as sandbox:
        yield make_site(tmp_path, sandbox, database, database_url, destination=str(tmp_path / "out"))


@pytest.fixture
def manifest(site: Site) -> Path:
    paint(site, "red")
    return write(site, "A thing")


def paint(site: Site, colour: str) -> None:
    Image.new("RGB", (8, 8), colour).save(site.folder / "input.png")


def write(site: Site, prompt: str) -> Path:
    file = site.folder / "things.json"
    job = {"id": "one", "model": "gpt-image-2", "prompt": prompt, "aspect_ratio": "1:1", "image_urls": ["input.png"]}
    file.write_text(json.dumps({"version": 1, "name": "things", "jobs": [job]}))
    return file


def sent_digests(site: Site) -> list[str]:
    with site.database.begin() as connection:
        return list(connection.execute(select(submissions.c.body_sha256)).scalars())


def run(site: Site, manifest: Path, *, meddle: bool) -> list[str]:
    """Submit, then perhaps change the manifest and paint over its file, then work the batch; what was sent."""
    batch = submit(manifest, site.settings, DETACHED, confirm=lambda _: True)["batch"]
    if meddle:
        write(site, "Another thing, and far too dear")
        paint(site, "blue")
        (site.folder / "input.png").unlink()
    [document] = resume(batch, site.settings, confirm=lambda *_: True)
    assert document["state"] == "completed"
    return sent_digests(site)


def test_a_batch_sends_what_was_submitted(site: Site, manifest: Path) -> None:
    run(site, manifest, meddle=False)
    run(site, manifest, meddle=True)
    first, second = sent_digests(site)
    assert first == second


def test_a_file_that_changes_while_it_is_confirmed_is_not_sent(site: Site, manifest: Path) -> None:
    """The bytes that were judged are not there any more: nothing is stored, so nothing is sent."""

    def change_and_confirm(_: Plan) -> bool:
        paint(site, "blue")
        return True

    with pytest.raises(DestinationFailed, match="not what was"):
        submit(manifest, site.settings, DETACHED, confirm=change_and_confirm)
    with site.database.begin() as connection:
        assert connection.execute(select(batches.c.id)).all() == []
    assert site.asked("stats")["posts"] == 0


def test_a_model_that_is_gone_is_rejected_alone_and_costs_nothing(site: Site, tmp_path: Path) -> None:
    """The catalogue changed under a live batch: of the model that is gone the provider's word counts."""
    known = bundled_catalog()
    fewer = known.model_copy(update={"models": {name: model for name, model in known.models.items() if name != "muse"}})
    items = [
        {"id": name, "model": name, "prompt": "A thing", "aspect_ratio": "1:1", "output_format": "png"}
        for name in ("gen", "muse")
    ]
    manifest = site.folder / "things.json"
    manifest.write_text(json.dumps({"version": 1, "name": "things", "jobs": items}))
    with Sandbox(tmp_path / "later", time_scale=0.01, catalog=fewer) as later:
        settings = site.settings.model_copy(update={"katana_base_url": later.base_url})
        document = submit(manifest, settings, confirm=lambda _: True)
        charges = [entry.credits for entry in later.charges()]
    found = {job["id"]: (job["state"], job["credits"]["spent"]) for job in list_jobs(document["batch"], settings)}
    assert document["state"] == "partial_failure"
    assert found == {"gen": ("completed", "3"), "muse": ("rejected", "0")}
    assert charges == [3]
