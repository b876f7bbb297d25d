"""Fingerprints: fixed for good, the same for all spellings of the same work, and different for all other work."""

import base64
import hashlib
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from orchestrator.catalog.bundled import bundled_catalog
from orchestrator.planner.fingerprint import canonical_item, differences, fingerprint
from orchestrator.planner.plan import Plan, plan

PlanText = Callable[..., Plan]
GOLDEN = Path(__file__).resolve().parents[2] / "golden"
RED = (GOLDEN / "media" / "red.png").read_bytes()
RED_BASE64 = base64.b64encode(RED).decode()
RED_SHA256 = hashlib.sha256(RED).hexdigest()
URL = "https://example.com/a.png"
IMAGE: dict[str, Any] = {"type": "image", "model": "gen", "prompt": "A mug", "aspect_ratio": "1:1"}
VIDEO: dict[str, Any] = {
    "type": "video",
    "model": "seedance-2-0",
    "prompt": "x",
    "aspect_ratio": "auto",
    "duration_seconds": 5,
}


def of(item: dict[str, Any], take: int | None = None, needed: dict[str, str] | None = None) -> str:
    return fingerprint(type=item["type"], model=item["model"], item=item, take=take, needed=needed or {})


def test_they_never_change() -> None:
    """Whoever has to change the file has every collection of every user bought again."""
    kept = json.loads((GOLDEN / "fingerprints.json").read_text())
    assert len(kept) > 15
    for case in kept:
        assert fingerprint(**case["job"]) == case["fingerprint"], case["job"]


def test_those_of_whole_manifests_never_change() -> None:
    kept = json.loads((GOLDEN / "manifest-fingerprints.json").read_text())
    assert kept.keys() == {"audio-driven.yaml", "chain.yaml", "extra.yaml", "formats.yaml", "media-kinds.yaml"}
    for name, fingerprints in kept.items():
        planned = plan(GOLDEN / "ok" / name, bundled_catalog(), usd_per_credit=Decimal("0.0052"))
        assert {job.id: job.fingerprint for job in planned.jobs} == fingerprints


SAME: list[tuple[dict[str, Any], ...]] = [
    (IMAGE | {"image_urls": [URL]}, IMAGE | {"image_url": URL}, IMAGE | {"input_image_urls": [URL]}),
    (IMAGE | {"output_format": "jpg"}, IMAGE | {"output_format": "jpeg"}),
    (IMAGE, IMAGE | {"is_fast": False}, IMAGE | {"image_urls": []}, IMAGE | {"aspect_ratio": "auto"}),
    (IMAGE | {"fast_mode": True, "is_uhd": True}, IMAGE | {"uhd_mode": True}),
    (IMAGE | {"seed": 2, "a": {"b": 1, "c": [1.0]}}, IMAGE | {"a": {"c": [1], "b": 1.0}, "seed": 2.0}),
    (
        IMAGE | {"image_urls": [{"$media": RED_SHA256, "prefix": "data:image/png;base64,"}]},
        IMAGE | {"input_image": {"$media": RED_SHA256, "prefix": ""}},
        IMAGE | {"input_images": [f"data:image/jpeg;base64,{RED_BASE64[:8]} \n{RED_BASE64[8:]}"]},
        IMAGE | {"input_images": [f" {RED_BASE64}"]},
    ),
    (
        VIDEO | {"video_image_data": {"reference_image_urls": [URL], "first_frame_image_url": URL + "?1"}},
        VIDEO | {"reference_image_urls": [URL], "input_image_b64": URL + "?1"},
        VIDEO | {"reference_assets": [{"kind": "style_reference", "url": URL}], "image_url": URL + "?1"},
    ),
    (
        VIDEO | {"video_image_data": {"audio_input_urls": [URL]}},
        VIDEO | {"reference_assets": [{"base64_data": URL, "kind": "audio"}], "aspect_ratio": "1:1"},
    ),
]


@pytest.mark.parametrize("items", SAME)
def test_one_work_has_one_fingerprint(items: tuple[dict[str, Any], ...]) -> None:
    assert len({of(item) for item in items}) == 1


def test_other_work_has_another() -> None:
    pictures = [{"$media": RED_SHA256, "prefix": ""}, {"$media": "0" * 64, "prefix": "", "turned_from": RED_SHA256}]
    made = [{"$from": "a", "use": "original"}, {"$from": "a", "use": "final_frame"}]
    works: list[dict[str, Any]] = [
        IMAGE,
        *(IMAGE | other for other in ({"prompt": "A mug "}, {"model": "gpt-image-2"}, {"aspect_ratio": "2:3"})),
        *(IMAGE | {name: True} for name in ("is_fast", "is_uhd", "use_assistant", "seed")),
        *(IMAGE | {"seed": seed} for seed in (1, 1.5, "1", None, False)),
        *(IMAGE | {"image_urls": [medium]} for medium in (URL, *pictures, *made)),
        *(IMAGE | {"image_urls": [URL, URL + "#"]}, IMAGE | {"image_urls": [URL + "#", URL]}),
        *(IMAGE | {"image_urls": [URL], "aspect_ratio": "auto"}, VIDEO),
        *(VIDEO | {"video_image_data": {f"{at}_frame_image_url": URL}} for at in ("first", "mid", "last")),
        VIDEO | {"video_image_data": {"reference_image_urls": [URL]}},
    ]
    prints = [of(work, needed={"a": "fp1:a"}) for work in works]
    prints += [of(IMAGE, take=1), of(IMAGE, take=2), of(works[-9] | {"image_urls": [made[0]]}, needed={"a": "fp1:b"})]
    assert len(set(prints)) == len(prints)


def test_names_order_and_our_own_words_do_not_count(plan_text: PlanText) -> None:
    first = plan_text(
        "version: 1\nname: t\ndefaults: {model: gpt-image-2, aspect_ratio: 1:1}\njobs:\n"
        "  - {id: mug, prompt: A mug}\n  - {id: cup, prompt: A cup, image_urls: [{from: mug}], labels: {a: b}}\n"
    )
    second = plan_text(
        "version: 1\nname: u\nkey: '{job}-{index}{ext}'\nbundle: 2\njobs:\n"
        "  - {id: tasse, image_url: {use: original, from: becher}, aspect_ratio: 1:1, model: gpt-image-2,\n"
        "     prompt: A cup}\n"
        "  - {id: becher, type: image, prompt: A mug, aspect_ratio: 1:1, model: gpt-image-2}\n"
    )
    assert first.valid
    assert second.valid
    assert [job.fingerprint for job in first.jobs] == [job.fingerprint for job in reversed(second.jobs)]
    changed = plan_text(
        "version: 1\nname: t\ndefaults: {model: gpt-image-2, aspect_ratio: 1:1}\njobs:\n"
        "  - {id: mug, prompt: A jug}\n  - {id: cup, prompt: A cup, image_urls: [{from: mug}], labels: {a: b}}\n"
    )
    assert not {job.fingerprint for job in first.jobs} & {job.fingerprint for job in changed.jobs}


def test_differences_are_named_as_the_guide_names_the_fields() -> None:
    old = canonical_item(type="image", model="gen", item=IMAGE | {"image_url": URL, "seed": 1, "is_fast": True})
    new = canonical_item(
        type="image", model="gpt-image-2", item=IMAGE | {"image_urls": [URL, URL], "prompt": "y", "seed": 1}
    )
    assert differences(old, new) == ["model", "prompt", "image_urls", "is_fast"]
    assert differences(old, old) == []


def test_a_result_that_arrived_is_no_difference() -> None:
    stored = {"$media": RED_SHA256, "prefix": "data:image/png;base64,", "uri": "s3://bucket/a.png"}
    old = canonical_item(type="image", model="gen", item=IMAGE | {"image_url": stored})
    new = canonical_item(type="image", model="gen", item=IMAGE | {"image_url": {"$from": "a", "use": "original"}})
    assert differences(old, new) == []
