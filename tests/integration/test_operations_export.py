"""A batch's jobs come back as a manifest that is the same to the collection, and its results as data."""

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import update

from orchestrator.base.errors import UsageError
from orchestrator.operations import exporting
from orchestrator.operations.planning import plan
from orchestrator.operations.submitting import SubmitOptions, submit
from orchestrator.planner.result import Plan
from orchestrator.sandbox import Sandbox
from orchestrator.store.database import Database
from orchestrator.store.tables import batches

from .engine_site import Site, make_site

SHARED = {"model": "gpt-image-2", "aspect_ratio": "1:1"}
CLIP = {"model": "seedance-2-0", "duration_seconds": 5, "aspect_ratio": "16:9", "prompt": "A slow turn"}


@pytest.fixture
def site(tmp_path: Path, database: Database, database_url: str) -> Iterator[Site]:
    with Sandbox(tmp_path / "sandbox", time_scale=0.0) as sandbox:
        yield make_site(tmp_path, sandbox, database, database_url, destination=str(tmp_path / "out"))


def write(site: Site, jobs: list[dict[str, Any]]) -> Path:
    file = site.folder / "things.json"
    file.write_text(json.dumps({"version": 1, "name": "things", "labels": {"shop": "berlin"}, "jobs": jobs}))
    return file


def run(site: Site, file: Path) -> dict[str, Any]:
    return submit(file, site.settings, SubmitOptions(), confirm=lambda _: True)


def never(_: Plan) -> bool:
    raise AssertionError("nothing is bought, so nothing is asked")


def exported(site: Site, state: str | None = None) -> Path:
    file = site.folder / "exported.yaml"
    file.write_text(exporting.manifest("things", site.settings, state=state), encoding="utf-8")
    return file


def fingerprints(planned: Plan) -> dict[str, str | None]:
    assert planned.errors == ()
    return {job.id: job.fingerprint for job in planned.jobs}


def everything(site: Site) -> list[dict[str, Any]]:
    """A job with a picture that lies on its side, one with takes, a chain, and words that YAML would bend."""
    picture = Image.new("RGB", (60, 40), "red")
    exif = picture.getexif()
    exif[0x0112] = 6
    picture.save(site.folder / "photo.jpg", exif=exif)
    return [
        SHARED | {"id": "mug", "prompt": "no: yes\n- \"{{ x }}\" 1:1 \u2028", "image_urls": ["photo.jpg"]},
        SHARED | {"id": "cup", "prompt": "0x10", "takes": 2, "labels": {"line": "a"}},
        SHARED | {"id": "pot", "prompt": "A pot", "extra": {"seed": 42}, "gate": "manual"},
        CLIP | {"id": "spin", "type": "video", "video_image_data": {"first_frame_image_url": {"from": "mug"}}},
    ]  # fmt: skip


def test_what_was_submitted_comes_back_as_it_was(site: Site) -> None:
    file = write(site, everything(site))
    assert run(site, file)["state"] == "completed"
    again = exported(site)
    before, after = plan(file, site.settings), plan(again, site.settings)
    assert fingerprints(after) == fingerprints(before)
    assert [job.labels for job in after.jobs] == [job.labels for job in before.jobs]
    (site.folder / "photo.jpg").unlink()
    document = submit(again, site.settings, SubmitOptions(), confirm=never)
    assert (document["state"], document["reused"]) == ("completed", 5)


def test_what_failed_is_mended_and_the_rest_of_the_collection_stays(site: Site) -> None:
    frame = {"first_frame_image_url": {"from": "mug"}}
    jobs: list[dict[str, Any]] = [
        SHARED | {"id": "mug", "prompt": "A mug"},
        SHARED | {"id": "bad", "prompt": "Bad [sandbox:moderation]"},
        SHARED | {"id": "pot", "prompt": "A pot"},
        CLIP | {"id": "spin", "prompt": "[sandbox:fail]", "video_image_data": frame},
    ]
    run(site, write(site, jobs))
    file = exported(site, "failed")
    text = file.read_text()
    assert [line for line in text.splitlines() if line.startswith("  - id")] == [
        '  - id: "mug"', '  - id: "bad"', '  - id: "spin"',
    ]  # fmt: skip
    file.write_text(text.replace("[sandbox:fail]", "A slow turn"))
    document = run(site, file)
    counts = document["jobs"]
    assert (document["state"], counts["total"], counts["skipped"], document["reused"]) == ("completed", 3, 1, 1)
    index = json.loads((site.out / "things" / "index.json").read_text())
    assert [asset["job"] for asset in index["assets"]] == ["mug", "pot", "spin"]
    run(site, write(site, [SHARED | {"id": "jug", "prompt": "A jug"}]))
    index = json.loads((site.out / "things" / "index.json").read_text())
    assert [asset["job"] for asset in index["assets"]] == ["jug"]


def test_the_budget_comes_back(site: Site) -> None:
    file = write(site, [SHARED | {"id": "mug", "prompt": "A mug"}])
    file.write_text(json.dumps(json.loads(file.read_text()) | {"budget": {"credits": 90.5}}))
    run(site, file)
    assert plan(exported(site), site.settings).budget == Decimal("90.5")
    with site.database.begin() as connection:
        connection.execute(update(batches).values(payment="wallet-base", budget=Decimal("2.5")))
    of_wallet = plan(exported(site), site.settings)
    assert (of_wallet.payment, of_wallet.budget, of_wallet.budget_usd) == (
        "wallet-base",
        Decimal("2.5"),
        Decimal("2.5"),
    )


def test_a_part_leaves_the_rest_in_the_index(site: Site) -> None:
    run(site, write(site, [SHARED | {"id": name, "prompt": name} for name in ("mug", "cup")]))
    part = site.folder / "part.yaml"
    head = {"version": 1, "name": "things", "partial": True}
    part.write_text(json.dumps(head | {"jobs": [SHARED | {"id": "cup", "prompt": "A better cup"}]}))
    run(site, part)
    index = json.loads((site.out / "things" / "index.json").read_text())
    assert {asset["job"]: asset["prompt"] for asset in index["assets"]} == {"mug": "mug", "cup": "A better cup"}


def test_results_have_what_they_were_made_from(site: Site) -> None:
    run(site, write(site, [SHARED | {"id": "mug", "prompt": "A mug"}]))
    (job,) = exporting.results("things", site.settings)
    assert (job["prompt"], job["row"], job["fingerprint"][:4]) == ("A mug", None, "fp1:")
    assert exporting.results("things", site.settings, state="failed") == []
    with pytest.raises(UsageError, match="has no failed jobs"):
        exporting.manifest("things", site.settings, state="failed")
