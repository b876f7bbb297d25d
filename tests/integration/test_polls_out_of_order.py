"""A provider that takes back what it said: a final word stays final, whatever later or older answers claim."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from orchestrator.assets.client import AssetClient
from orchestrator.engine import poll, submit
from orchestrator.katana.client import KatanaClient
from orchestrator.operations.opening import make_engine
from orchestrator.sandbox import Sandbox
from orchestrator.store.database import Database

from .engine_site import Site, make_site


@pytest.fixture
def site(tmp_path: Path, database: Database, database_url: str) -> Iterator[Site]:
    with Sandbox(tmp_path / "sandbox", time_scale=0.01) as sandbox:  # nobody asks it: each test says the answers
        yield make_site(tmp_path, sandbox, database, database_url)


QUEUED: dict[str, Any] = {"status": "queued"}
PROCESSING: dict[str, Any] = {"status": "processing"}
FAILED: dict[str, Any] = {"status": "failed", "error": "no", "metadata": {"credits_spent": "0"}}
DONE: dict[str, Any] = {
    "status": "completed",
    "metadata": {"credits_spent": "3"},
    "output_assets": [{"kind": "image", "original_data_url": "https://files.test/0.png"}],
}
#: Each answer, and the states of the two jobs that it leaves.
ANSWERS = [
    (PROCESSING | {"responses": [PROCESSING, QUEUED]}, ["generating", "generating"]),
    (PROCESSING | {"responses": [DONE, PROCESSING]}, ["copying", "generating"]),
    (PROCESSING | {"responses": [PROCESSING, QUEUED]}, ["copying", "generating"]),
    (QUEUED | {"responses": []}, ["copying", "generating"]),
    ({"status": "failed", "responses": [FAILED, FAILED]}, ["copying", "failed"]),
]


async def test_what_is_final_stays_final(site: Site) -> None:
    scope = site.make_batch(2, bundle=2)
    said: list[dict[str, Any]] = [QUEUED, *(answer for answer, _ in ANSWERS)]

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/me/balance":
            return httpx.Response(503)
        return httpx.Response(200, content=json.dumps({"request_id": "r-1"} | said.pop(0)))

    client = KatanaClient("https://provider.test", {}, transport=httpx.MockTransport(answer))
    async with client, AssetClient() as assets:
        engine = make_engine(site.settings, site.database, client, assets, scope)
        try:
            [work] = await submit.claim(engine, 2)
            await submit.send(engine, work)
            for _, states in ANSWERS:
                await ask_again(engine, site)
                assert site.states() == states
            assert await poll.claim(engine, 1) == [], "there is nothing left to ask"
        finally:
            engine.close()
    assert [job["credits"]["spent"] for job in site.jobs().values()] == ["3", "0"]


async def ask_again(engine: Any, site: Site) -> None:
    with site.database.begin() as connection:
        connection.execute(text("UPDATE submission SET due_at = now()"))
    for work in await poll.claim(engine, 10):
        await poll.ask(engine, work)
