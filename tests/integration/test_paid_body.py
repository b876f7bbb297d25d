"""A payment is for one body: the same bytes are sent again with it, and no others ever."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.sandbox import FaultRule, Sandbox
from orchestrator.store.database import Database

from .engine_site import make_site
from .test_x402_direct import Shop


@pytest.fixture
def shop(tmp_path: Path, database: Database, database_url: str) -> Iterator[Shop]:
    with Sandbox(tmp_path / "sandbox", time_scale=0.02) as sandbox:
        site = make_site(tmp_path, sandbox, database, database_url)
        yield Shop(site.folder, site.sandbox, site.database, site.settings)


async def test_no_other_body_is_sent_with_a_payment(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    scope = shop.make_batch(1)
    shop.play(FaultRule(at="submit", kind="drop-before-charge", times=None))
    with pytest.raises(TimeoutError):
        await shop.run(scope, seconds=3)
    shop.play()
    sends = shop.rows()[0].sends
    shop.run_sql(
        "UPDATE job SET item = jsonb_set(item, '{prompt}', '\"Another thing\"'); "
        "UPDATE payment SET due_at = orchestrator_now(), lease_token = NULL, lease_owner = NULL, lease_until = NULL"
    )
    with caplog.at_level(logging.CRITICAL), pytest.raises(TimeoutError):
        await shop.run(scope, seconds=3)
    assert "would be another request than it was: it is not sent again" in caplog.text
    assert (shop.asked("payments")["payments"], shop.rows()[0].sends) == ([], sends)
    assert shop.states() == ["in_doubt"]
