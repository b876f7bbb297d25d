"""A sandbox whose clock stands still, and a client of it: for tests of what it says of payments."""

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from orchestrator.sandbox import Sandbox

MUG = {"type": "image", "model": "gpt-image-2", "prompt": "A ceramic mug", "aspect_ratio": "16:9"}
POSTS = "/v1/generation-requests?wait=false"
BODY = {"requests": [MUG]}


class FakeTime:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> FakeTime:
    return FakeTime()


@pytest.fixture
def sandbox(tmp_path: Path, clock: FakeTime) -> Iterator[Sandbox]:
    with Sandbox(tmp_path / "sandbox", clock=clock) as running:
        yield running


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=sandbox.base_url) as opened:
        yield opened
