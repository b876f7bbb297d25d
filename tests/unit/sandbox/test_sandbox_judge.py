"""The sandbox's own reading of the guide, rule by rule."""

import base64
import io
import wave
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from orchestrator.catalog.bundled import bundled_catalog
from orchestrator.sandbox.judge import Judge

ORIGIN = "http://127.0.0.1:9"
URL = "https://example.com/a.png"
AUDIO_URL = "https://example.com/a.mp3"


def picture(width: int = 8, height: int = 8) -> str:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height)).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def sound(seconds: float) -> str:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(1)
        writer.setframerate(1000)
        writer.writeframes(bytes(int(seconds * 1000)))
    return "data:audio/wav;base64," + base64.b64encode(buffer.getvalue()).decode()


PICTURE = picture()
DATA_URL = f"data:image/png;base64,{PICTURE}"


def image(**fields: object) -> dict[str, object]:
    return {"type": "image", "model": "gpt-image-2", "prompt": "A mug", "aspect_ratio": "1:1", **fields}


def video(**fields: object) -> dict[str, object]:
    base = {"type": "video", "model": "seedance-2-0", "prompt": "A mug", "aspect_ratio": "16:9"}
    return {**base, "duration_seconds": 5, **fields}


def frames(model: str = "seedance-2-0", **slots: object) -> dict[str, object]:
    names = {"first": "first_frame_image_url", "mid": "mid_frame_image_url", "last": "last_frame_image_url"}
    return video(model=model, video_image_data={names.get(slot, slot): value for slot, value in slots.items()})


@pytest.fixture(scope="module")
def judge() -> Judge:
    return Judge(bundled_catalog(), ORIGIN)


@pytest.mark.parametrize(
    ("item", "price"),
    [
        (image(), "14"),
        (image(output_format="jpg"), "14"),
        (image(image_urls=[URL, DATA_URL, PICTURE]), "14"),
        (image(input_images=[URL] * 8, input_image_urls=[URL] * 8), "14"),
        (image(model="gen", image_url=URL), "3"),
        (image(model="gen", is_fast=True, uhd_mode=True, use_assistant=True), "3"),
        (image(image_urls=[f"{ORIGIN}/original/x.png?Signature=1"]), "14"),
        (image(seed=42), "14"),
        (video(), "200"),
        (video(duration_seconds=10.0), "375"),
        (frames(first=URL, last=DATA_URL), "200"),
        (video(input_image_b64=PICTURE), "200"),
        (video(reference_image_urls=[URL], video_image_data={"reference_image_urls": [URL] * 6}), "200"),
        (frames(reference_image_urls=[URL], audio_input_urls=[AUDIO_URL, sound(1), sound(2)]), "200"),
        (frames("ltx-2-3", first=URL, audio_input_urls=[AUDIO_URL]), "20"),
        (frames("kling-3-0-kling30", first=URL, reference_image_urls=[URL]), "280"),
        (
            video(reference_assets=[{"kind": "image", "base64_data": PICTURE}, {"kind": "audio", "url": AUDIO_URL}]),
            "200",
        ),
    ],
)
def test_valid_items_are_priced_by_the_catalogue(judge: Judge, item: dict[str, object], price: str) -> None:
    verdict = judge.judge(item)
    assert verdict.error is None
    assert verdict.credits == Decimal(price)
    assert verdict.output is not None


@pytest.mark.parametrize(
    ("item", "code"),
    [
        ({}, "invalid_value"),
        (image(type="audio"), "invalid_value"),
        (image(model=None), "missing_field"),
        (image(model="gpt2image"), "unknown_model"),
        (image(model="seedance-2-0"), "wrong_model_type"),
        ({"type": "image", "model": "grok-4-3", "prompt": "x", "aspect_ratio": "1:1"}, "wrong_model_type"),
        (image(prompt=""), "missing_field"),
        (image(prompt=7), "missing_field"),
        (image(aspect_ratio=None), "missing_field"),
        (image(aspect_ratio="7:1"), "unsupported_aspect_ratio"),
        (image(aspect_ratio=969), "unsupported_aspect_ratio"),
        (image(output_format="gif"), "unsupported_output_format"),
        (image(is_fast=True), "unsupported_field"),
        (image(duration_seconds=5), "unsupported_field"),
        (image(image_urls=URL), "invalid_value"),
        (image(image_urls=[URL] * 17), "too_many_reference_images"),
        (image(model="gen", image_urls=[URL, URL]), "too_many_reference_images"),
        (image(model="qwen-image-edit"), "image_input_required"),
        (image(image_url="http://example.com/a.png"), "insecure_media_url"),
        (image(image_url="file:///etc/passwd"), "bad_media_url"),
        (image(image_url="./photo.png"), "bad_media_url"),
        (image(image_url="/home/me/photo"), "bad_media_url"),
        (image(image_url="data:image/png;base64,"), "corrupt_media"),
        (image(image_url="data:image/png;base64,AAAA"), "corrupt_media"),
        (image(image_url="data:text/plain;base64,AAAA"), "bad_media_url"),
        (image(image_url=DATA_URL[:-40]), "corrupt_media"),
        (image(image_url=""), "bad_media_url"),
        (video(duration_seconds=None), "missing_field"),
        (video(duration_seconds="5"), "missing_field"),
        (video(duration_seconds=7), "unsupported_duration"),
        (video(output_format="png"), "unsupported_field"),
        (video(video_image_data=[URL]), "invalid_value"),
        (frames(first_frame=URL), "unknown_field"),
        (video(image_url=URL, video_image_data={"first_frame_image_url": DATA_URL}), "invalid_value"),
        (frames(mid=URL), "mid_frame_unsupported"),
        (frames("wan-2-5", last=URL), "last_frame_unsupported"),
        (frames("wan-2-5", reference_image_urls=[URL]), "reference_images_unsupported"),
        (frames("wan-2-5", audio_input_urls=[AUDIO_URL]), "audio_unsupported"),
        (video(model="kling-1-6"), "image_input_required"),
        (frames(reference_image_urls=[URL] * 8), "too_many_reference_images"),
        (frames(audio_input_urls=[AUDIO_URL] * 4), "too_many_audio_files"),
        (frames(last=URL), "lf_needs_ff"),
        (frames(first=URL, reference_image_urls=[URL]), "reference_no_ff_or_lf"),
        (frames(first=URL, audio_input_urls=[AUDIO_URL]), "audio_or_fflf_exclusive"),
        (frames(audio_input_urls=[sound(8), sound(8)]), "audio_15s_max"),
        (frames("ltx-2-3", first=URL, last=URL, audio_input_urls=[AUDIO_URL]), "audio_ff_only"),
        (frames(audio_input_urls=["data:audio/wav;base64,AAAA"]), "corrupt_media"),
        (frames(audio_input_urls=["AAAA"]), "bad_media_url"),
        (video(reference_assets=[{"kind": "video", "url": URL}]), "invalid_value"),
        (video(reference_assets=[{"kind": "image"}]), "invalid_value"),
    ],
)
def test_invalid_items_are_rejected_with_a_code_and_cost_nothing(
    judge: Judge, item: dict[str, object], code: str
) -> None:
    verdict = judge.judge(item)
    assert verdict.error is not None
    assert verdict.error.code == code
    assert verdict.credits == 0


@pytest.mark.parametrize(
    ("item", "size"),
    [
        (image(aspect_ratio="auto"), (512, 512)),
        (image(aspect_ratio="auto", image_url=picture(160, 90)), (512, 288)),
        (image(aspect_ratio="auto", image_url=URL), (512, 512)),
        (image(model="gen", aspect_ratio="9:16", is_fast=True), (144, 256)),
        (image(model="gen", is_uhd=True, is_fast=True), (1024, 1024)),
        (video(aspect_ratio="auto"), (320, 320)),
        (frames(first=f"data:image/png;base64,{picture(9, 16)}") | {"aspect_ratio": "auto"}, (180, 320)),
    ],
)
def test_the_size_follows_the_aspect_ratio(judge: Judge, item: dict[str, object], size: tuple[int, int]) -> None:
    output = judge.judge(item).output
    assert output is not None
    assert (output.width, output.height) == size


def test_auto_without_an_image_needs_a_model_with_a_square(judge: Judge) -> None:
    error = judge.judge(video(model="veo3-1", duration_seconds=4, aspect_ratio="auto")).error
    assert error is not None
    assert error.code == "unsupported_aspect_ratio"


def test_the_duration_follows_the_audio_where_the_model_says_so(judge: Judge) -> None:
    output = judge.judge(frames("ltx-2-3", audio_input_urls=[sound(3)])).output
    assert output is not None
    assert output.duration_seconds == 3


def test_answers_repeat_items_with_the_model_key_and_without_media(judge: Judge) -> None:
    assert judge.judge(image(image_urls=[DATA_URL])).echo == {
        "type": "image",
        "model": "gpt2image",
        "prompt": "A mug",
        "aspect_ratio": "1:1",
    }


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)
FIELDS = st.sampled_from(
    [
        "type",
        "model",
        "prompt",
        "aspect_ratio",
        "output_format",
        "duration_seconds",
        "image_urls",
        "image_url",
        "video_image_data",
        "reference_image_urls",
        "reference_assets",
        "is_fast",
    ]
)


@settings(max_examples=100, deadline=None)
@given(base=st.sampled_from([image(), video()]), fields=st.dictionaries(FIELDS, ANYTHING, max_size=3))
def test_no_item_makes_the_judge_stumble(judge: Judge, base: dict[str, object], fields: dict[str, object]) -> None:
    verdict = judge.judge({**base, **fields})
    assert (verdict.error is None) == (verdict.credits > 0) == (verdict.output is not None)
