"""A payment in doubt whose chain does not answer: a run does not wait for ever, and the next one asks again."""

from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.operations.opening import Provider
from orchestrator.operations.running import exit_code
from orchestrator.sandbox import FaultRule, Sandbox
from orchestrator.store.database import Database

from .engine_site import make_site
from .test_x402_direct import Shop, expire


class DeafShop(Shop):
    """A shop that can lose its chain."""

    rpc_url: str | None = None

    @property
    def provider(self) -> Provider:
        reached = super().provider
        return reached if self.rpc_url is None else replace(reached, base_rpc_url=self.rpc_url)


async def test_a_run_ends_in_doubt_where_the_chain_stays_silent_and_resume_asks_it_again(
    tmp_path: Path, database: Database, database_url: str
) -> None:
    with Sandbox(tmp_path / "sandbox", time_scale=0.02) as sandbox:
        site = make_site(tmp_path, sandbox, database, database_url, stall_after=0.0)
        shop = DeafShop(site.folder, site.sandbox, site.database, site.settings)
        scope = shop.make_batch(1)
        shop.play(FaultRule(at="submit", kind="drop-before-charge", times=None))
        with pytest.raises(TimeoutError):
            await shop.run(scope, seconds=3)
        shop.play()
        expire(shop)
        shop.rpc_url = "http://127.0.0.1:9"
        document = await shop.run(scope)
        assert (document["state"], exit_code(document)) == ("held", 5)
        assert "does not answer" in shop.holds()["in-doubt"]
        assert [row.state for row in shop.rows()] == ["signed"]
        assert (await shop.resume(scope))["state"] == "held"
        shop.rpc_url = None
        expire(shop)
        assert (await shop.resume(scope))["state"] == "completed"
        assert [row.state for row in shop.rows()] == ["void", "settled"]
        shop.check()
