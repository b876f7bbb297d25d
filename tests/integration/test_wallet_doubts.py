"""Money of a wallet's balance in doubt: what the provider's list of its transactions proves, and what it forbids."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import select

from orchestrator.base.ethereum import Account  # eth-account, kept harmless
from orchestrator.base.payments import Network, Payment
from orchestrator.base.states import SubmissionState
from orchestrator.engine import reconcile
from orchestrator.operations import wallet
from orchestrator.operations.opening import Provider, open_engine, provider_for
from orchestrator.sandbox import FaultRule, Sandbox
from orchestrator.store import wallet_doubts
from orchestrator.store.accounts import Scope
from orchestrator.store.audit import audit
from orchestrator.store.database import Database
from orchestrator.store.tables import submissions

from .engine_site import make_site
from .store_rows import put_submission
from .test_engine_reconcile import GAP_SECONDS, RIPE_SECONDS, Later
from .test_x402_direct import Shop
from .usdc_rows import BATCH, usdc_batch

UNREADABLE = FaultRule(at="wallet", kind="500", match="transactions", times=None)


@dataclass
class Purse(Shop):
    """A site whose batches are paid from a wallet's balance, which was topped up."""

    payment: Payment = Payment.WALLET_BASE

    @property
    def provider(self) -> Provider:
        return provider_for(self.settings, self.payment)

    def top_up(self) -> None:
        done = wallet.top_up(
            self.settings,
            Network.BASE,
            Decimal(1),
            is_another=False,
            agree=lambda *_: True,
            tell=lambda _: None,
            report=lambda _: None,
        )
        assert done is not None
        assert done.is_credited

    @property
    def charges(self) -> list[Decimal]:
        return [entry.credits for entry in self.sandbox.ledger() if entry.kind == "charge"]

    def submission(self) -> Any:
        with self.database.begin() as connection:
            return connection.execute(select(submissions).order_by(submissions.c.created_at)).first()

    async def lose(self, kind: str) -> Scope:
        """The only job of a batch is in doubt, and the list cannot be read meanwhile."""
        await asyncio.to_thread(self.top_up)
        self.run_sql("UPDATE payment SET ended_at = ended_at - interval '1 hour'")  # it blurs no reading any more
        scope = self.make_batch(1)
        self.play(UNREADABLE, FaultRule(at="submit", kind=kind))
        await self.run(scope)
        assert self.states() == ["in_doubt"]
        return scope

    async def look_twice(self, scope: Scope, later: Later) -> None:
        """Ask for all there is to know, twice, as far apart as it has to be."""
        later.pass_by(RIPE_SECONDS)
        async with open_engine(self.settings, self.database, self.provider, scope) as engine:
            for seconds in (0.0, 0.0, GAP_SECONDS, 0.0):
                later.pass_by(seconds)
                engine.next_evidence_at = engine.next_transactions_at = 0.0
                await reconcile.reconcile(engine)

    def check_books(self) -> None:
        with self.database.begin() as connection:
            assert audit(connection) == []


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    with Sandbox(tmp_path / "sandbox", time_scale=0.02) as running:
        yield running


@pytest.fixture
def purse(tmp_path: Path, sandbox: Sandbox, database: Database, database_url: str) -> Purse:
    site = make_site(tmp_path, sandbox, database, database_url)
    url, key = sandbox.base_url, "0x" + Account.create().key.hex().removeprefix("0x")
    keys = {"katana_base_url": url, "evm_private_key": SecretStr(key), "base_rpc_url": f"{url}/rpc/base"}
    settings = site.settings.model_copy(update=keys)
    return Purse(site.folder, site.sandbox, site.database, settings)


@pytest.fixture
def later(database: Database) -> Later:
    return Later(database)


async def test_a_whole_list_without_the_charge_settles_it(purse: Purse, later: Later) -> None:
    scope = await purse.lose("drop-before-charge")
    purse.play()
    await purse.look_twice(scope, later)
    assert (purse.submission().settled_by, purse.submission().charged) == ("transactions", 0)
    assert (await purse.run(scope))["state"] == "completed"
    assert len(purse.charges) == 1
    purse.check_books()


async def test_a_charge_of_another_time_forbids_that_nothing_was_charged(purse: Purse, later: Later) -> None:
    later.pass_by(7200)  # the database's clock is two hours ahead of the provider's: the charge is from before the POST
    scope = await purse.lose("drop-after-charge")
    purse.play()
    await purse.look_twice(scope, later)
    assert purse.submission().settled_by == "balance"
    assert purse.jobs()["job-0"]["error"]["code"] == "payment-lost"
    assert len(purse.charges) == 1
    purse.check_books()


async def test_nothing_is_lost_while_the_list_cannot_be_read(purse: Purse, later: Later) -> None:
    scope = await purse.lose("drop-after-charge")
    await purse.look_twice(scope, later)
    assert (purse.states(), purse.submission().evidence) == (["in_doubt"], None)
    purse.play()
    assert (await purse.run(scope))["state"] == "completed"
    assert len(purse.charges) == 1
    purse.check_books()


def test_a_text_of_ours_is_known_by_its_completion(database: Database) -> None:
    scope = usdc_batch(database, payment=Payment.WALLET_BASE)
    with database.begin() as connection:
        for request_id in ("image", "chatcmpl-text"):
            put_submission(connection, BATCH, scope.account_pk, SubmissionState.ACCEPTED, request_id=request_id)
        found = wallet_doubts.known_requests(
            connection, ["image", "text", "chatcmpl-text", "foreign", "chatcmpl-image"]
        )
    assert found == {"image", "text", "chatcmpl-text"}
