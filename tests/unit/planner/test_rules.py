"""Every model of the catalogue, and every rule of the glossary, also those that no bundled model lists."""

from collections.abc import Callable
from typing import Any

import pytest

from orchestrator.base.diagnostics import Code
from orchestrator.catalog.bundled import bundled_catalog
from orchestrator.catalog.models import Catalog, ImageModel, VideoModel
from orchestrator.planner.plan import Plan

PlanText = Callable[..., Plan]
IMAGES = [model for model in bundled_catalog().models.values() if isinstance(model, ImageModel)]
VIDEOS = [model for model in bundled_catalog().models.values() if isinstance(model, VideoModel)]
URL = "https://example.com/{}.png"


def urls(count: int) -> str:
    return "[" + ", ".join(URL.format(index) for index in range(count)) + "]"


def codes(plan: Plan) -> list[str]:
    return [error.code.value for error in plan.errors]


def image_job(model: ImageModel, images: int | None = None, **fields: Any) -> str:
    count = (1 if model.requires_image else 0) if images is None else images
    given = {"prompt": "x", "aspect_ratio": model.aspect_ratios[0]} | fields
    lines = "".join(f"    {name}: {value}\n" for name, value in given.items())
    return f"version: 1\nname: t\njobs:\n  - id: a\n    model: {model.name}\n{lines}    image_urls: {urls(count)}\n"


def video_job(model: VideoModel, frame: bool | None = None, media: str = "", **fields: Any) -> str:
    with_frame = model.requires_image if frame is None else frame
    given = {"prompt": "x", "aspect_ratio": model.aspect_ratios[0], "duration_seconds": min(model.credits_by_duration)}
    lines = "".join(f"    {name}: {value}\n" for name, value in (given | fields).items())
    first = f"      first_frame_image_url: {URL}\n" if with_frame else ""
    data = f"    video_image_data:\n{first}{media}" if first or media else ""
    return f"version: 1\nname: t\njobs:\n  - id: a\n    model: {model.name}\n{lines}{data}"


@pytest.mark.parametrize("model", IMAGES, ids=lambda model: model.name)
def test_every_image_model(plan_text: PlanText, model: ImageModel) -> None:
    for ratio in (*model.aspect_ratios, "auto"):
        assert codes(plan_text(image_job(model, aspect_ratio=ratio))) == []
    assert codes(plan_text(image_job(model, aspect_ratio="7:3"))) == ["unsupported-aspect-ratio"]
    assert codes(plan_text(image_job(model, duration_seconds=5))) == ["unsupported-field"]
    most = max(model.max_reference_images, 1)
    assert codes(plan_text(image_job(model, images=most))) == []
    too_many = "too-many-reference-images" if model.max_reference_images else "reference-images-unsupported"
    assert codes(plan_text(image_job(model, images=most + 1))) == [too_many]
    assert codes(plan_text(image_job(model, images=0))) == (["image-input-required"] if model.requires_image else [])
    assert codes(plan_text(image_job(model, is_uhd="true"))) == ([] if model.is_in_house else ["unsupported-field"])
    assert plan_text(image_job(model)).estimate == model.credits


@pytest.mark.parametrize("model", VIDEOS, ids=lambda model: model.name)
def test_every_video_model(plan_text: PlanText, model: VideoModel) -> None:
    for seconds, credits_needed in model.credits_by_duration.items():
        plan = plan_text(video_job(model, duration_seconds=seconds))
        assert (codes(plan), plan.estimate) == ([], credits_needed)
    assert codes(plan_text(video_job(model, duration_seconds=7))) == ["unsupported-duration"]
    assert codes(plan_text(video_job(model, aspect_ratio="7:3"))) == ["unsupported-aspect-ratio"]
    assert codes(plan_text(video_job(model, frame=False))) == (["image-input-required"] if model.requires_image else [])
    auto = codes(plan_text(video_job(model, frame=False, aspect_ratio="auto")))
    assert ("unsupported-aspect-ratio" in auto) == ("1:1" not in model.aspect_ratios)


@pytest.mark.parametrize("model", VIDEOS, ids=lambda model: model.name)
def test_every_slot_of_every_video_model(plan_text: PlanText, model: VideoModel) -> None:
    last = codes(plan_text(video_job(model, frame=True, media=f"      last_frame_image_url: {URL}\n")))
    assert last == ([] if model.last_frame else ["last-frame-unsupported"])
    mid = codes(plan_text(video_job(model, frame=True, media=f"      mid_frame_image_url: {URL}\n")))
    assert mid == ["mid-frame-unsupported"]
    most = model.max_reference_images
    references = codes(
        plan_text(video_job(model, frame=False, media=f"      reference_image_urls: {urls(most or 1)}\n"))
    )
    assert references == ([] if most else ["reference-images-unsupported"])
    if most:
        media = f"      reference_image_urls: {urls(most + 1)}\n"
        assert codes(plan_text(video_job(model, frame=False, media=media))) == ["too-many-reference-images"]
    audio = codes(plan_text(video_job(model, media=f"      audio_input_urls: {urls(1)}\n")))
    assert audio == ([] if model.max_audio_files else ["audio-unsupported"])


SLOTS = {
    "first": f"      first_frame_image_url: {URL}\n",
    "mid": f"      mid_frame_image_url: {URL}\n",
    "last": f"      last_frame_image_url: {URL}\n",
    "reference": f"      reference_image_urls: {urls(1)}\n",
    "audio": f"      audio_input_urls: {urls(1)}\n",
}


@pytest.mark.parametrize(
    ("rule", "slots", "breaks"),
    [
        ("lf_needs_ff", "last", True),
        ("lf_needs_ff", "first last", False),
        ("reference_no_ff_or_lf", "reference first", True),
        ("reference_no_ff_or_lf", "reference last", True),
        ("reference_no_ff_or_lf", "reference mid", False),
        ("reference_ff_only", "reference last", True),
        ("reference_ff_only", "reference first", False),
        ("audio_ff_only", "audio", False),
        ("audio_ff_only", "audio first", False),
        ("audio_ff_only", "audio first mid", True),
        ("audio_ff_only", "audio first last", True),
        ("audio_ff_only", "audio first reference", True),
        ("audio_needs_reference_image", "audio", True),
        ("audio_needs_reference_image", "audio first", True),
        ("audio_needs_reference_image", "audio reference", False),
        ("audio_or_fflf_exclusive", "audio first", True),
        ("audio_or_fflf_exclusive", "audio last", True),
        ("audio_or_fflf_exclusive", "audio reference mid", False),
        ("audio_drives_duration", "audio first last reference", False),
        ("reference_is_voice_timbre", "audio reference", False),
    ],
)
def test_custom_rules(plan_text: PlanText, rule: str, slots: str, breaks: bool) -> None:
    catalog = with_model(custom_rules=(rule,), mid_frame=True)
    model = catalog.models["seedance-2-0"]
    assert isinstance(model, VideoModel)
    media = "".join(SLOTS[slot] for slot in slots.split())
    assert codes(plan_text(video_job(model, media=media), catalog)) == ([rule] if breaks else [])


def test_a_model_without_first_frames(plan_text: PlanText) -> None:
    catalog = with_model(first_frame=False)
    text = "version: 1\nname: t\njobs:\n  - id: a\n    model: seedance-2-0\n    prompt: x\n"
    text += f"    duration_seconds: 5\n    aspect_ratio: 16:9\n    input_image_b64: {URL}\n"
    (error,) = plan_text(text, catalog).errors
    assert (error.code, error.line, error.column) == (Code.FIRST_FRAME_UNSUPPORTED, 9, 22)


def test_the_cap_on_audio_files_holds_over_a_model_that_offers_more(plan_text: PlanText) -> None:
    catalog = with_model(max_audio_files=9, custom_rules=())
    model = catalog.models["seedance-2-0"]
    assert isinstance(model, VideoModel)
    assert codes(plan_text(video_job(model, media=f"      audio_input_urls: {urls(4)}\n"), catalog)) == []
    too_many = plan_text(video_job(model, media=f"      audio_input_urls: {urls(5)}\n"), catalog)
    assert codes(too_many) == ["too-many-audio-files"]


def with_model(**changes: Any) -> Catalog:
    """The bundled catalogue with another seedance-2-0."""
    catalog = bundled_catalog()
    models = dict(catalog.models)
    models["seedance-2-0"] = models["seedance-2-0"].model_copy(update=changes)
    return Catalog(source="test", fetched_at="2026-01-01T00:00:00Z", models=models)
