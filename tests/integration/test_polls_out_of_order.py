"""A provider that takes back what it said: a final word stays final, whatever later or older answers claim."""

import json
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import pytest
from sqlalchemy import select, text, update

from orchestrator.assets.client import AssetClient
from orchestrator.base.states import JobState
from orchestrator.engine import poll, submit
from orchestrator.engine.runtime import Limits
from orchestrator.katana.carrier import Request
from orchestrator.katana.client import KatanaClient
from orchestrator.katana.line import ProviderUnavailable
from orchestrator.katana.verdict import Reply
from orchestrator.operations.opening import make_engine
from orchestrator.sandbox import Sandbox
from orchestrator.store import polling
from orchestrator.store.database import Database
from orchestrator.store.free_claims import claim_polls
from orchestrator.store.leases import NO_LEASE, Lease
from orchestrator.store.polling import ItemOutcome, Source
from orchestrator.store.tables import submissions

from ..carriers import Answers
from .engine_site import Site, make_site
from .store_rows import force_jobs, put_submission


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

    def answer(request: Request) -> Reply:
        if request.url.endswith("/v1/me/balance"):
            return Reply(503, {}, b"")
        return Reply(200, {}, json.dumps({"request_id": "r-1"} | said.pop(0)).encode())

    client = KatanaClient("https://provider.test", {}, carrier=Answers(answer))
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


async def test_who_slept_past_its_lease_gives_nothing_up(site: Site) -> None:
    """That a request is lost is our word: it does not count against an answer that another worker has had since."""
    scope = site.make_batch(1)
    (batch_id,) = scope.batch_ids or ()
    with site.database.begin() as connection:
        submission_id = put_submission(connection, batch_id, scope.account_pk, "accepted")
        force_jobs(connection, batch_id, ["generating"], submission_id)
        long_missing = {"not_found_since": text("now() - interval '1 h'")}
        connection.execute(update(submissions).values(long_missing))
        (slept,) = claim_polls(connection, scope, lease=Lease(uuid4(), 1, 0.001), limit=9)
        connection.execute(update(submissions).values(NO_LEASE | {"due_at": text("now()")}))
        (other,) = claim_polls(connection, scope, lease=Lease(uuid4(), 2, 60), limit=9)
        alive = polling.Poll(other.id, other.token, "processing", nothing_there=False, next_poll_seconds=5)
        polling.record_polls(connection, [alive])
    engine = cast(Any, SimpleNamespace(has_keys=True, scope=scope, limits=Limits(request_lost_after_seconds=900)))
    with site.database.begin() as connection:
        poll._record_failure(connection, engine, slept, ProviderUnavailable("HTTP 404", status=404))
    assert site.states() == ["generating"]


async def test_a_late_answer_says_nothing_of_a_charge_that_is_known(site: Site) -> None:
    scope = site.make_batch(1)
    (batch_id,) = scope.batch_ids or ()
    source = Source(0, "original", "image", "https://files.test/0.png", None, None)
    told = ItemOutcome(0, JobState.COPYING, Decimal(3), sources=(source,))
    with site.database.begin() as connection:
        submission_id = put_submission(connection, batch_id, scope.account_pk, "accepted")
        force_jobs(connection, batch_id, ["generating"], submission_id)
        polling.record_outcomes(connection, {submission_id: [told]})
        polling.resolve_finished(connection, {submission_id: "completed"})
        polling.record_outcomes(connection, {submission_id: [replace(told, is_told=False)]})
        assert connection.execute(select(submissions.c.settled_by)).scalar_one() == "provider"
