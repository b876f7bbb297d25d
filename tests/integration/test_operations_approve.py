"""A careful start from `submit` to `approve`, against a real sandbox."""

import asyncio
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text, update

from orchestrator.base.errors import SpendRefused, UsageError
from orchestrator.base.states import HoldCode
from orchestrator.operations.approving import approve
from orchestrator.operations.quoting import SpendQuote
from orchestrator.operations.resuming import resume
from orchestrator.operations.running import exit_code
from orchestrator.operations.steering import pause
from orchestrator.sandbox import Sandbox
from orchestrator.store.database import Database
from orchestrator.store.holds import put_hold
from orchestrator.store.tables import batches, jobs

from .engine_site import BATCH, Site, make_site

FAILING = "A thing that fails [sandbox:fail]"


@pytest.fixture
def site(tmp_path: Path, database: Database, database_url: str) -> Iterator[Site]:
    with Sandbox(tmp_path / "sandbox", time_scale=0.0) as sandbox:
        yield make_site(tmp_path, sandbox, database, database_url)


def run(site: Site, prompts: list[str] | int, *, canaries: int | None = None, **values: Any) -> dict[str, Any]:
    """A batch of which all but the first `canaries` jobs wait, worked until nothing moves."""
    scope = site.make_batch(prompts)
    with site.database.begin() as connection:
        if canaries is not None:
            connection.execute(
                update(jobs).where(jobs.c.ordinal >= canaries).values(state="waiting", waits_for="canary")
            )
        if values:
            connection.execute(update(batches).values(values))
    return asyncio.run(site.run(scope))


def yes(_: SpendQuote) -> bool:
    return True


def codes(document: dict[str, Any]) -> list[str]:
    return [hold["code"] for hold in document["holds"]]


def test_the_rest_waits_for_the_canaries(site: Site) -> None:
    document = run(site, 4, canaries=1)
    assert (document["state"], codes(document), exit_code(document)) == ("held", ["canary"], 3)
    assert (document["jobs"]["completed"], document["jobs"]["waiting"]) == (1, 3)
    assert document["holds"][0]["message"] == (
        "gen: 1 job, 3 credits spent, 3 estimated; 3 jobs of 9 credits wait for approval"
    )
    (resumed,) = resume(BATCH, site.settings, confirm=lambda *_: False)
    assert (resumed["state"], codes(resumed)) == ("held", ["canary"]), "resume is no answer, and asks for nothing"

    asked: list[SpendQuote] = []
    with pytest.raises(SpendRefused, match="not confirmed"):
        approve(BATCH, site.settings, confirm=lambda quote: bool(asked.append(quote)))
    assert (asked[0].jobs, asked[0].credits, asked[0].other_credits) == (3, 9, 0)
    assert asked[0].notes[0].startswith("canary: gen: 1 job")

    approved = approve(BATCH, site.settings, confirm=yes)
    assert (approved["state"], approved["jobs"]["completed"], approved["holds"]) == ("completed", 4, [])
    with pytest.raises(UsageError, match="nothing to approve"):
        approve(BATCH, site.settings, confirm=yes)
    site.audit()


def test_one_job_alone_is_let_go(site: Site) -> None:
    run(site, 4, canaries=1)
    document = approve(BATCH, site.settings, job="job-2", confirm=yes)
    assert site.states() == ["completed", "waiting", "completed", "waiting"]
    assert (document["state"], codes(document)) == ("held", ["canary"])
    for job, said in (("job-0", "is completed; it does not wait"), ("nowhere", "has no job")):
        with pytest.raises(UsageError, match=said):
            approve(BATCH, site.settings, job=job, confirm=yes)


def test_too_many_failures_stop_it_until_someone_has_looked(site: Site) -> None:
    document = run(site, [FAILING] * 3, canaries=None, stop_when_failed_over=Decimal("0.2"))
    assert (document["state"], document["holds"]) == ("failed", []), "nothing was left to stop"


def test_a_stopped_batch_goes_on_by_approve_or_resume(site: Site) -> None:
    site.settings = site.settings.model_copy(update={"max_in_flight": 1})
    document = run(site, [FAILING] * 12, stop_when_failed_over=Decimal("0.2"))
    assert (document["state"], codes(document), exit_code(document)) == ("held", ["stop-when"], 3)
    failed = document["jobs"]["failed"]
    assert 3 <= failed < 12
    approved = approve(BATCH, site.settings, confirm=yes)
    assert approved["jobs"]["failed"] >= failed + 3
    while approved["state"] == "held":
        (approved,) = resume(BATCH, site.settings, confirm=lambda *_: True)
    assert approved["jobs"]["failed"] == 12


def test_a_changed_price_is_answered_only_by_approve(site: Site) -> None:
    run(site, 2, canaries=2, state="paused")
    with site.database.begin() as connection:
        connection.execute(update(jobs).values(price=5))
        put_hold(connection, BATCH, HoldCode.PRICE_CHANGED, "gen costs 5 credits", f"orchestrator approve {BATCH}")
    (resumed,) = resume(BATCH, site.settings, confirm=lambda *_: False)
    assert (resumed["state"], codes(resumed), exit_code(resumed)) == ("held", ["price-changed"], 3)
    with site.database.begin() as connection:
        connection.execute(update(batches).values(budget=9))
    with pytest.raises(SpendRefused, match="10 credits, 1 more than the budget of 9"):
        approve(BATCH, site.settings, confirm=yes)
    with site.database.begin() as connection:
        connection.execute(update(batches).values(budget=10))
    quotes: list[SpendQuote] = []
    approved = approve(BATCH, site.settings, confirm=lambda quote: not quotes.append(quote))
    assert (approved["state"], quotes[0].credits, quotes[0].jobs) == ("completed", 10, 0)


def test_prices_that_rise_while_someone_thinks_are_asked_for_again(site: Site) -> None:
    run(site, 3, canaries=1)

    def slowly(_: SpendQuote) -> bool:
        with site.database.begin() as connection:
            connection.execute(update(jobs).where(jobs.c.state == "waiting").values(price=4))
        return True

    with pytest.raises(SpendRefused, match="risen meanwhile"):
        approve(BATCH, site.settings, confirm=slowly)
    assert site.states() == ["completed", "waiting", "waiting"]


def test_a_paused_batch_fetches_what_was_paid_for(site: Site) -> None:
    """Also where the process that paid is gone."""
    scope = site.make_batch(2)
    with site.database.begin() as connection:
        connection.execute(update(jobs).where(jobs.c.ordinal == 1).values(due_at=text("now() + interval '1 hour'")))

    def pause_once_paid() -> None:
        while "generating" not in site.states() and "completed" not in site.states():
            time.sleep(0.01)
        pause(BATCH, site.settings)

    async def pay_and_pause() -> dict[str, Any]:
        document, _ = await asyncio.gather(site.run(scope), asyncio.to_thread(pause_once_paid))
        return document

    document = asyncio.run(pay_and_pause())
    assert (document["state"], site.states(), exit_code(document)) == ("paused", ["completed", "pending"], 3)
    (resumed,) = resume(BATCH, site.settings, confirm=lambda *_: True)
    assert resumed["state"] == "completed"
    with site.database.begin() as connection:
        assert connection.execute(select(batches.c.cancelled_at)).scalar_one() is None
