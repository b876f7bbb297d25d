"""Chains that say nothing, or take back what they said: a run does not wait for ever, and nothing is paid twice."""

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


async def test_what_a_chain_takes_back_after_it_was_final_is_not_bought_again(
    tmp_path: Path, database: Database, database_url: str
) -> None:
    """An answer, or a final block, has ended the doubt: nobody looks again, and nothing is signed anew (F16)."""
    with Sandbox(tmp_path / "sandbox", time_scale=0.02) as sandbox:
        site = make_site(tmp_path, sandbox, database, database_url)
        shop = DeafShop(site.folder, site.sandbox, site.database, site.settings)
        scope = shop.make_batch(2)
        shop.refuse_replays()
        shop.play(FaultRule(at="submit", kind="drop-after-charge"))
        with pytest.raises(TimeoutError):
            await shop.run(scope, seconds=5)
        expire(shop)
        assert (await shop.run(scope))["state"] == "held"
        before = (shop.rows(), sorted(shop.states()))
        assert before[1] == ["completed", "in_doubt"]
        assert {row.state for row in before[0]} == {"settled"}
        with Sandbox(tmp_path / "fork", time_scale=0.02) as fork:  # whose chain never saw them
            shop.rpc_url = f"{fork.base_url}/rpc/base"
            assert (await shop.resume(scope))["state"] == "held"
        assert (shop.rows(), sorted(shop.states())) == before
        assert len(shop.asked("payments")["payments"]) == 2
        shop.check()
