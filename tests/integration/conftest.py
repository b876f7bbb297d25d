"""What integration tests share: a bucket of their own."""

import hashlib
from collections.abc import Iterator

import pytest

from orchestrator.assets import s3

from .s3_site import moto_server, use_endpoint


@pytest.fixture(scope="module")
def moto_url() -> Iterator[str]:
    with moto_server() as url:
        yield url


@pytest.fixture
def bucket(moto_url: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of a bucket that this process and those it starts can reach."""
    use_endpoint(monkeypatch, moto_url)
    name = "b-" + hashlib.sha256(request.node.name.encode()).hexdigest()[:16]
    s3.s3_client().create_bucket(Bucket=name)
    yield name
    s3.s3_client.cache_clear()
