"""Every request example of the provider's guide is accepted as it stands, with its placeholders filled in."""

import base64
import io
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from PIL import Image

from orchestrator.sandbox import Sandbox


def _picture() -> str:
    buffer = io.BytesIO()
    Image.new("RGB", (16, 9)).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


DATA_URL = _picture()
IMAGE = {"type": "image", "model": "gpt-image-2", "aspect_ratio": "1:1", "output_format": "png"}
VIDEO = {"type": "video", "model": "seedance-2-0", "duration_seconds": 5, "aspect_ratio": "16:9"}

EXAMPLES = {
    "x402 discovery": IMAGE | {"model": "gen", "prompt": "A clean product photo of a mug"},
    "text to image": IMAGE | {"prompt": "A clean product image of a ceramic mug on a table"},
    "image URL": IMAGE | {"prompt": "Use the reference", "image_urls": ["https://example.com/reference-image.png"]},
    "image data URL": IMAGE | {"prompt": "Use the reference", "image_urls": [DATA_URL]},
    "text to video": VIDEO | {"prompt": "A calm cinematic shot of a ceramic mug on a table"},
    "first frame URL": VIDEO
    | {
        "prompt": "Animate the scene",
        "video_image_data": {"first_frame_image_url": "https://example.com/first-frame.png"},
    },
    "first frame data URL": VIDEO
    | {"prompt": "Animate the scene", "video_image_data": {"first_frame_image_url": DATA_URL}},
    "first and last frame": VIDEO
    | {
        "prompt": "Create a smooth transformation",
        "video_image_data": {
            "first_frame_image_url": "https://example.com/first-frame.png",
            "last_frame_image_url": "https://example.com/last-frame.png",
        },
    },
    "reference images": VIDEO
    | {
        "prompt": "Create a video using the uploaded references",
        "video_image_data": {
            "reference_image_urls": ["https://example.com/character-reference.png", DATA_URL],
        },
    },
    "reference assets": VIDEO
    | {
        "prompt": "Generate a short ad",
        "reference_assets": [
            {"kind": "reference_image", "url": "https://example.com/person.png"},
            {"kind": "image", "base64_data": DATA_URL},
        ],
    },
    "audio references": VIDEO
    | {
        "prompt": "Use the attached audio as the voice",
        "video_image_data": {
            "reference_image_urls": ["https://example.com/speaker-reference.png"],
            "audio_input_urls": ["https://example.com/reference-voice.mp3"],
        },
    },
}


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    state: Path = tmp_path_factory.mktemp("sandbox")
    with Sandbox(state, time_scale=0) as running:
        yield running


@pytest.mark.parametrize("item", EXAMPLES.values(), ids=EXAMPLES)
def test_the_example_is_accepted(sandbox: Sandbox, item: dict[str, object]) -> None:
    url = f"{sandbox.base_url}/v1/generation-requests?wait=false"
    headers = {"X-API-Key": "key", "X-API-Secret": "secret"}
    answer = httpx.post(url, json={"requests": [item]}, headers=headers).json()
    assert answer["status"] == "completed", answer


def test_an_empty_placeholder_is_not_an_image(sandbox: Sandbox) -> None:
    item = IMAGE | {"prompt": "Use the reference", "image_urls": ["data:image/png;base64,"]}
    url = f"{sandbox.base_url}/v1/generation-requests?wait=false"
    answer = httpx.post(url, json={"requests": [item]}, headers={"Authorization": "Bearer key:secret"}).json()
    assert answer["status"] == "rejected"
