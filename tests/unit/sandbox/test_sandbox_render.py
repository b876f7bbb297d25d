"""Drawn assets decode, have the promised form, say `sandbox`, and are the same each time."""

import io
import time

import av
import pytest
from PIL import Image

from orchestrator.sandbox.film import film
from orchestrator.sandbox.picture import Motif, draw, encode

MOTIF = Motif("A very long prompt. " * 100, "gpt-image-2", "0a1b2c3d")


@pytest.mark.parametrize("media_format", ["png", "jpeg", "webp"])
def test_pictures_decode_and_repeat(media_format: str) -> None:
    content = encode(draw(MOTIF, 512, 288), media_format)
    assert content == encode(draw(MOTIF, 512, 288), media_format)
    assert b"sandbox" in content
    with Image.open(io.BytesIO(content)) as picture:
        picture.load()
        assert picture.size == (512, 288)
        assert picture.format == media_format.upper()


@pytest.mark.parametrize("prompt", ["", "\0\t\n", "مرحبا 你好 🎈", "x" * 5000, "{{ }} <b>"])
def test_any_prompt_can_be_drawn(prompt: str) -> None:
    assert draw(Motif(prompt, "m", "j"), 64, 128).size == (64, 128)


def test_different_prompts_look_different() -> None:
    one, other = (encode(draw(Motif(prompt, "m", "j"), 64, 64), "png") for prompt in ("a cup", "a mug"))
    assert one != other


@pytest.mark.parametrize("sound", [True, False])
def test_videos_play_for_the_time_asked(sound: bool) -> None:
    started = time.monotonic()
    content = film(MOTIF, 320, 180, 5.0, sound=sound)
    assert time.monotonic() - started < 2.0  # about 0.03 s on an idle machine
    assert content == film(MOTIF, 320, 180, 5.0, sound=sound)
    with av.open(io.BytesIO(content), "r") as container:
        assert container.metadata["comment"].startswith("sandbox")
        assert [stream.type for stream in container.streams] == (["video", "audio"] if sound else ["video"])
        assert container.duration == pytest.approx(5_000_000, abs=150_000)
        sizes = {(frame.width, frame.height) for frame in container.decode(video=0)}
    assert sizes == {(320, 180)}
