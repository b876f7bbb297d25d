"""A video that is reused lends its final frame to what goes on from it: that has to be there too."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from sqlalchemy import select

from orchestrator.operations import looking
from orchestrator.operations.comparing import compare_with_collection
from orchestrator.operations.planning import plan
from orchestrator.operations.submitting import submit
from orchestrator.planner.compare import Comparison
from orchestrator.sandbox import Sandbox
from orchestrator.store.database import Database
from orchestrator.store.tables import assets

from .engine_site import Site, make_site

_VIDEO = {"type": "video", "model": "ltx-2-3", "aspect_ratio": "16:9", "duration_seconds": 5}


@pytest.fixture
def site(tmp_path: Path, database: Database, database_url: str) -> Iterator[Site]:
    with Sandbox(tmp_path / "sandbox", time_scale=0.0) as sandbox:
        yield make_site(tmp_path, sandbox, database, database_url, destination=str(tmp_path / "out"))


def write(site: Site, prompt: str, **more: Any) -> Path:
    """A picture, a video that begins with it, and one that goes on from that; `prompt` is of the last."""
    picture = {"id": "hero", "type": "image", "model": "gen", "prompt": "A hero", "aspect_ratio": "1:1"}
    turn = {"id": "turn", "prompt": "A turn", "video_image_data": {"first_frame_image_url": {"from": "hero"}}}
    frame = {"from": "turn", "use": "final_frame"}
    on = {"id": "on", "prompt": prompt, "video_image_data": {"first_frame_image_url": frame}}
    file = site.folder / "films.json"
    jobs = [picture, turn | _VIDEO, on | _VIDEO]
    file.write_text(json.dumps({"version": 1, "name": "films", "jobs": jobs} | more))
    return file


def run(site: Site, prompt: str, **more: Any) -> dict[str, Any]:
    return submit(write(site, prompt, **more), site.settings, confirm=lambda _: True)


def compared(site: Site, prompt: str, **more: Any) -> dict[str, str]:
    comparison: Comparison = compare_with_collection(plan(write(site, prompt, **more), site.settings), site.settings)
    return {verdict.job.id: str(verdict.standing) for verdict in comparison.verdicts}


def final_frames(site: Site) -> list[Path]:
    with site.database.begin() as connection:
        uris = connection.execute(select(assets.c.uri).where(assets.c.role == "final_frame")).scalars().all()
    return [Path(unquote(urlsplit(uri).path)) for uri in uris]


def test_a_final_frame_that_is_gone_counts_where_something_goes_on_from_it(site: Site) -> None:
    run(site, "It goes on")
    for path in final_frames(site):
        path.unlink()
    assert compared(site, "It goes on") == {"hero": "reused", "turn": "reused", "on": "reused"}
    assert compared(site, "It goes on and on")["turn"] == "asset-missing"
    assert run(site, "It goes on and on")["state"] == "completed"


def test_final_frames_come_along_to_another_destination(site: Site, tmp_path: Path) -> None:
    run(site, "It goes on")
    elsewhere = {"destination": str(tmp_path / "elsewhere")}
    moved = run(site, "It goes on", **elsewhere)
    assert moved["reused"] == 3
    shutil.rmtree(site.out)
    assert compared(site, "It goes on and on", **elsewhere)["turn"] == "reused"
    last = run(site, "It goes on and on", **elsewhere)
    assert (last["state"], last["reused"]) == ("completed", 2)
    assert {job["state"] for job in looking.jobs(last["batch"], site.settings)} == {"completed"}


def test_a_final_frame_that_nothing_goes_on_from_may_stay_behind(site: Site, tmp_path: Path) -> None:
    run(site, "It goes on")
    for path in final_frames(site):
        path.unlink()
    elsewhere = {"destination": str(tmp_path / "elsewhere")}
    assert run(site, "It goes on", **elsewhere)["reused"] == 3
    assert compared(site, "It goes on and on", **elsewhere)["turn"] == "asset-missing"
