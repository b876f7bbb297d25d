"""Venice-style request bodies become jobs that plan, and what has no counterpart is named."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.catalog.bundled import bundled_catalog
from orchestrator.planner.venice import convert

CATALOG = bundled_catalog()
PICTURE = "https://example.com/a.png"
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
KNOWN = ["model", "prompt", "duration", "width", "height", "size", "variants", "n", "aspect_ratio", "image_url"]
KNOWN_OF_VIDEOS = ["audio_url", "reference_audio_urls", "reference_image_urls", "end_image_url"]
UNKNOWN = st.text("xyz", min_size=1, max_size=3)


def job_of(body: dict[str, Any]) -> dict[str, Any]:
    job = convert(body, CATALOG).job
    assert job is not None
    return job


def noted(body: dict[str, Any]) -> set[str]:
    return {note.field for note in convert(body, CATALOG).notes}


def test_an_image() -> None:
    body = {
        "model": "qwen-image",
        "prompt": "A gondola",
        "width": 1024,
        "height": 1536,
        "variants": 3,
        "format": "webp",
        "negative_prompt": "rain",
        "seed": 7,
        "cfg_scale": 7.5,
        "steps": None,
    }
    assert job_of(body) == {
        "type": "image",
        "model": "qwen-image",
        "prompt": "A gondola",
        "output_format": "webp",
        "aspect_ratio": "2:3",
        "takes": 3,
    }
    assert noted(body) == {"aspect_ratio", "negative_prompt", "seed", "cfg_scale"}


def test_a_video() -> None:
    body = {
        "model": "seedance-2-0-image-to-video",
        "prompt": "The gondola leaves",
        "duration": "10s",
        "aspect_ratio": "16:9",
        "resolution": "720p",
        "image_url": PICTURE,
        "end_image_url": PICTURE,
        "audio_url": "https://example.com/a.mp3",
    }
    assert job_of(body) == {
        "type": "video",
        "model": "seedance-2-0",
        "prompt": "The gondola leaves",
        "aspect_ratio": "16:9",
        "duration_seconds": 10,
        "video_image_data": {
            "first_frame_image_url": PICTURE,
            "last_frame_image_url": PICTURE,
            "audio_input_urls": ["https://example.com/a.mp3"],
        },
    }
    assert noted(body) == {"model", "resolution"}


@pytest.mark.parametrize(
    ("model", "is_known", "name"),
    [
        ("z-image-turbo", True, "z-image-turbo"),
        ("wan-2.5-preview-text-to-video", True, "wan-2-5"),
        ("fluently-xl", False, "fluently-xl"),
    ],
)
def test_models(model: str, is_known: bool, name: str) -> None:
    conversion = convert({"model": model, "prompt": "x", "aspect_ratio": "1:1"}, CATALOG)
    assert conversion.job is not None
    assert conversion.job["model"] == name
    assert any("there is no model" in note.message for note in conversion.notes) is not is_known


@pytest.mark.parametrize("body", [{"messages": []}, {"input": "text", "model": "embed"}])
def test_what_asks_for_no_picture_is_left_out_and_said(body: dict[str, Any]) -> None:
    conversion = convert(body, CATALOG)
    assert conversion.job is None
    assert len(conversion.notes) == 1


@given(
    st.dictionaries(st.sampled_from(KNOWN + KNOWN_OF_VIDEOS), ANY_JSON, max_size=8),
    st.dictionaries(UNKNOWN, ANY_JSON, max_size=3),
)
def test_whatever_is_unknown_is_noted(known: dict[str, Any], unknown: dict[str, Any]) -> None:
    assert {name for name, value in unknown.items() if value is not None} <= noted(known | unknown)
