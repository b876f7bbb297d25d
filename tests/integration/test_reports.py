"""A report of batches in every condition, to a folder; what the page holds is read from its data."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from orchestrator.assets.errors import DestinationFailed
from orchestrator.assets.folder import FolderDestination
from orchestrator.base.errors import UsageError
from orchestrator.base.settings import load_settings
from orchestrator.operations.reporting import report
from orchestrator.operations.submitting import SubmitOptions, submit
from orchestrator.planner.result import PlannedJob
from orchestrator.sandbox import Sandbox
from orchestrator.store.database import Database

from .engine_site import BATCH, PRICE, Site, make_site

JOBS = [
    {"id": "mug", "model": "gpt-image-2", "aspect_ratio": "1:1", "prompt": "A mug"},
    {"id": "cup", "model": "gpt-image-2", "aspect_ratio": "1:1", "prompt": "A cup"},
    {"id": "words", "type": "text", "model": "glm-5-1", "prompt": "A caption of a mug"},
]


@pytest.fixture
def site(tmp_path: Path, database: Database, database_url: str) -> Iterator[Site]:
    with Sandbox(tmp_path / "sandbox", time_scale=0.0) as sandbox:
        yield make_site(tmp_path, sandbox, database, database_url, destination=str(tmp_path / "out"))


def page_data(page: Path) -> dict[str, Any]:
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', page.read_text(), re.DOTALL)
    assert found is not None
    return dict(json.loads(found[1]))


def test_a_report_shows_what_there_is(site: Site) -> None:
    file = site.folder / "things.json"
    file.write_text(json.dumps({"version": 1, "name": "things", "jobs": JOBS}))
    submit(file, site.settings, SubmitOptions(), confirm=lambda _: True)
    page = site.folder / "elsewhere" / "page.html"
    looked: list[tuple[int, int]] = []
    made = report("things", site.settings, str(page), progress=lambda *counts: looked.append(counts))
    assert looked == [(1, 3), (2, 3), (3, 3)]
    assert (made["files"], made["thumbnails"], made["missing"], made["links_end_at"]) == (3, 2, 0, None)
    mug, cup, words = page_data(page)["cards"]
    assert mug["refused"] == {}
    assert (mug["cost"], mug["state"], words["files"][0]["thumb"]) == ("14 credits", "completed", None)
    assert len(words["files"][0]["text"]) > 5
    assert Path(unquote(urlsplit(mug["files"][0]["href"]).path)).is_file()
    assert mug["files"][0]["thumb"].startswith("./page_files/")
    for picture in (*site.out.glob("things/mug/*"), *site.out.glob(".renditions/things/mug/*")):
        picture.unlink()
    assert report("things", site.settings, str(page))["missing"] == 1
    assert [card["files"][0]["missing"] for card in page_data(page)["cards"]] == [True, False, False]
    (page.parent / mug["files"][0]["thumb"]).unlink()
    made = report("things", site.settings, str(page))
    assert (made["missing"], made["thumbnails"], made["tied"]) == (1, 1, 3)
    inside = site.out / "reports" / "page.html"
    assert report("things", site.settings, str(inside))["tied"] == 0
    href = page_data(inside)["cards"][1]["files"][0]["href"]
    assert href == f"./../things/cup/{Path(unquote(urlsplit(cup['files'][0]['href']).path)).name}"
    assert (inside.parent / href).is_file()


def test_what_a_store_does_not_tell_is_made(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """S3 answers 403 for an absent object to those who may not list."""
    file = site.folder / "things.json"
    file.write_text(json.dumps({"version": 1, "name": "things", "jobs": JOBS[:2]}))
    submit(file, site.settings, SubmitOptions(), confirm=lambda _: True)
    has = FolderDestination.has

    def has_or_fails(self: FolderDestination, key: str) -> bool:
        if not has(self, key):
            raise DestinationFailed(f"cannot look for {key}: 403")
        return True

    monkeypatch.setattr(FolderDestination, "has", has_or_fails)
    made = report("things", site.settings, str(site.folder / "page.html"))
    assert (made["thumbnails"], made["missing"]) == (2, 0)


def test_a_batch_that_has_nothing_yet_can_be_looked_at(site: Site) -> None:
    item = {"prompt": "A mug", "aspect_ratio": "1:1"}
    site.store([PlannedJob(n, f"job-{n}", "image", "gen", item, {}, PRICE) for n in range(2)])
    page = site.folder / "page.html"
    assert report(BATCH, site.settings, str(page))["files"] == 0
    assert "had not ended when this page was made" in page.read_text()
    data = page_data(page)
    assert [(card["state"], card["cost"]) for card in data["cards"]] == [("pending", "about 3 credits")] * 2
    assert data["cards"][0]["refused"]["take"] == "is pending: there is nothing to take again"


@pytest.mark.parametrize("target", ["s3://bucket", "s3://bucket/", "https://host/page.html", ".", "folder/"])
def test_what_is_no_page_is_refused(tmp_path: Path, target: str) -> None:
    with pytest.raises(UsageError):
        report("latest", load_settings(home=tmp_path), target)
