"""A provider that charges other prices than its catalogue's, from the first charge to the person who approves it."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import update

from orchestrator.base.money import canonical
from orchestrator.operations.running import exit_code
from orchestrator.sandbox import FaultRule, Sandbox
from orchestrator.store import approving
from orchestrator.store.audit import audit
from orchestrator.store.database import Database
from orchestrator.store.tables import batches, holds

from .engine_site import BATCH, PRICE, Site, make_site
from .store_rows import row


@pytest.fixture
def site(tmp_path: Path, database: Database, database_url: str) -> Iterator[Site]:
    with Sandbox(tmp_path / "sandbox", time_scale=0.02) as sandbox:
        yield make_site(tmp_path, sandbox, database, database_url, max_in_flight=3)


def charge(factor: str, times: int | None = None) -> FaultRule:
    return FaultRule(at="submit", kind="price", factor=Decimal(factor), times=times)


def booked(site: Site) -> Decimal:
    """What the provider charged in all."""
    return sum((entry.credits for entry in site.sandbox.ledger()), Decimal(0))


def assert_right(site: Site) -> None:
    site.audit()
    with site.database.begin() as connection:
        assert audit(connection) == []
    assert Decimal(site.document()["credits"]["spent"]) == booked(site)


async def test_a_rise_stops_the_batch_until_someone_approves(site: Site) -> None:
    scope = site.make_batch(12)
    site.play(charge("1.5"))
    document = await site.run(scope)
    assert (document["state"], exit_code(document)) == ("held", 3)
    hold = row(site.database, holds, batch_id=BATCH)
    assert (hold.code, hold.command) == ("price-changed", f"orchestrator approve {BATCH}")
    left = document["jobs"]["pending"]
    cost = canonical(left * Decimal("4.5"))
    assert hold.message == (
        f"gen was charged 4.5 credits, not 3: its {left} jobs left would cost {cost} credits, not {left * 3}"
    )
    assert document["jobs"]["completed"] == 12 - left
    assert 12 - left <= 3, "no more than was in flight"
    assert_right(site)
    with site.database.begin() as connection:
        approving.answer(connection, BATCH, approving.find_asked(connection, BATCH, None))
    site.play(charge("1.5"))
    document = await site.run(scope)
    assert (document["state"], document["credits"]["spent"]) == ("completed", "54")
    assert_right(site)


async def test_the_budget_is_overspent_by_no_more_than_was_in_flight(site: Site) -> None:
    scope = site.make_batch(20, budget=30)
    with site.database.begin() as connection:
        connection.execute(update(batches).values(price_tolerance=1))
    site.play(charge("2"))
    document = await site.run(scope)
    assert document["state"] == "held"
    assert [hold["code"] for hold in document["holds"]] == ["budget-reached"]
    assert booked(site) <= 30 + 3 * PRICE
    assert_right(site)


async def test_a_price_within_the_tolerance_goes_on(site: Site) -> None:
    scope = site.make_batch(6)
    with site.database.begin() as connection:
        connection.execute(update(batches).values(price_tolerance=Decimal("0.1")))
    site.play(charge("1.1"))
    document = await site.run(scope)
    assert (document["state"], document["credits"]["spent"]) == ("completed", "19.8")
    assert_right(site)


async def test_a_lower_price_only_releases_the_rest(site: Site) -> None:
    scope = site.make_batch(6, budget=18)
    site.play(charge("0.5"))
    document = await site.run(scope)
    assert (document["state"], document["credits"]["spent"], document["credits"]["reserved"]) == ("completed", "9", "0")
    assert_right(site)


async def test_one_dear_job_among_cheap_ones_reprices_what_is_left(site: Site) -> None:
    scope = site.make_batch(6, bundle=2)
    site.play(charge("2", times=1))
    document = await site.run(scope)
    assert document["state"] == "held"
    assert {job["credits"]["estimated"] for job in site.jobs().values()} == {"3"}
    assert_right(site)
