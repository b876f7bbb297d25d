"""Chains against a real sandbox: results go from job to job as they are stored, and a branch ends with its root."""

import asyncio
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from orchestrator.planner.result import PlannedJob
from orchestrator.sandbox import Sandbox
from orchestrator.store.database import Database
from orchestrator.store.tables import assets, jobs

from .engine_site import Site, make_site

#: A video model that gives final frames, and one that does not; both in credits for their shortest clip.
CLIP = ("ltx-2-3", 5, Decimal(20))
CLIP_WITHOUT_END = ("veo3-1-lite", 8, Decimal(140))


@pytest.fixture
def site(tmp_path: Path, database: Database, database_url: str) -> Iterator[Site]:
    with Sandbox(tmp_path / "sandbox", time_scale=0.0) as sandbox:
        yield make_site(tmp_path, sandbox, database, database_url)


def picture(name: str, *needs: str, prompt: str = "A thing", has_gate: bool = False) -> dict[str, Any]:
    """An image job; what it needs are its source images."""
    item = {"type": "image", "model": "gpt-image-2", "prompt": f"{prompt} {name}", "aspect_ratio": "1:1"}
    if needs:
        item["image_urls"] = [{"$from": need, "use": "original"} for need in needs]
    return {"id": name, "item": item, "estimate": Decimal(14), "needs": needs, "has_gate": has_gate}


def clip(
    name: str,
    need: str,
    use: str = "original",
    *,
    model: tuple[str, int, Decimal] = CLIP,
    prompt: str = "A turn",
    has_gate: bool = False,
) -> dict[str, Any]:
    """A video job whose first frame is another job's result."""
    item = {
        "type": "video",
        "model": model[0],
        "prompt": f"{prompt} {name}",
        "aspect_ratio": "16:9",
        "duration_seconds": model[1],
        "video_image_data": {"first_frame_image_url": {"$from": need, "use": use}},
    }
    return {"id": name, "item": item, "estimate": model[2], "needs": (need,), "has_gate": has_gate}


def planned(*made: dict[str, Any]) -> list[PlannedJob]:
    return [
        PlannedJob(ordinal=n, type=job["item"]["type"], model=job["item"]["model"], labels={}, **job)
        for n, job in enumerate(made)
    ]


def run(site: Site, *made: dict[str, Any], **options: Any) -> dict[str, Any]:
    return asyncio.run(site.run(site.store(planned(*made), **options)))


def states(site: Site) -> dict[str, str]:
    return {name: job["state"] for name, job in site.jobs().items()}


def first_frame(site: Site, name: str) -> str:
    """The SHA-256 of the first frame that a video was sent with."""
    with site.database.begin() as connection:
        item = connection.execute(select(jobs.c.item).where(jobs.c.name == name)).scalar_one()
    return str(item["video_image_data"]["first_frame_image_url"]["$media"])


def stored(site: Site, name: str, role: str = "original") -> str:
    """The SHA-256 of a job's stored file."""
    query = select(assets.c.sha256).join(jobs, jobs.c.pk == assets.c.job_pk)
    with site.database.begin() as connection:
        return str(connection.execute(query.where(jobs.c.name == name, assets.c.role == role)).scalar_one())


def test_an_image_becomes_a_film_and_its_end_the_next_film(site: Site) -> None:
    document = run(site, picture("hero"), clip("turn", "hero"), clip("on", "turn", "final_frame"))
    assert document["state"] == "completed", site.jobs()
    assert document["credits"]["spent"] == "54"
    assert first_frame(site, "turn") == stored(site, "hero")
    assert first_frame(site, "on") == stored(site, "turn", "final_frame")
    site.audit()
