"""Requests that carry a payment of their own: paid once whatever is answered; nothing odd is ever signed."""

import asyncio
import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import httpx
import pytest
from sqlalchemy import select, text

from orchestrator.base.errors import SpendRefused, UsageError
from orchestrator.base.money import ZERO
from orchestrator.base.payments import Payment, Unit
from orchestrator.catalog.bundled import bundled_catalog
from orchestrator.engine import replay
from orchestrator.engine.reconcile import reconcile
from orchestrator.operations.opening import Provider, open_engine
from orchestrator.operations.resolving import resolve
from orchestrator.payments.payer import Payer
from orchestrator.payments.payers import sandbox_payer
from orchestrator.planner.result import PlannedJob
from orchestrator.planner.usdc import amount_of
from orchestrator.receipts.book import all_books
from orchestrator.sandbox import FaultRule, Sandbox
from orchestrator.store import accounts, adopting, batches, creating, reads, retrying
from orchestrator.store.accounts import Scope
from orchestrator.store.audit import audit
from orchestrator.store.database import Database
from orchestrator.store.tables import payments, submissions

from .engine_site import BATCH, Site, make_site

BOTH = pytest.mark.parametrize("payment", [Payment.X402_BASE, Payment.X402_SOLANA])


@dataclass
class Shop(Site):
    """A site whose batches are paid by the request."""

    payment: Payment = Payment.X402_BASE

    @property
    def provider(self) -> Provider:
        url, wallet = self.sandbox.base_url, sandbox_payer("shop", self.payment).wallet
        assert wallet is not None
        payer = Payer(f"{self.payment}:{wallet.address}", {}, self.payment, None, wallet)
        return Provider(url, url, payer, f"{url}/rpc/base", f"{url}/rpc/solana")

    def store(
        self, planned: list[PlannedJob], *, budget: int | None = None, bundle: int = 1, canary: int | None = None
    ) -> Scope:
        catalog = bundled_catalog()
        amounts = [amount_of(job, self.payment, bundle, catalog) for job in planned]
        with self.database.begin() as connection:
            pk = accounts.account_pk(connection, self.provider.origin, self.provider.account, Unit.USDC)
            creating.create_batch(
                connection,
                creating.NewBatch(
                    id=BATCH,
                    name="things",
                    sandbox=False,
                    account_pk=pk,
                    destination=self.out.as_uri(),
                    media=str(self.folder / "media"),
                    key="{name}/{job}/{index}-{sha8}{ext}",
                    bundle=bundle,
                    labels={},
                    manifest=str(self.folder / "things.yaml"),
                    catalog=catalog,
                    estimated=sum(amounts, ZERO),
                    budget=None if budget is None else Decimal(budget) / 1000,
                    usd_per_credit=Decimal(1),
                    jobs=planned,
                    canary=canary,
                    payment=self.payment,
                ),
            )
        return Scope(pk, (BATCH,))

    def rows(self, table: Any = payments) -> list[Any]:
        with self.database.begin() as connection:
            return list(connection.execute(select(table).order_by(table.c.created_at)))

    def holds(self) -> dict[str, str]:
        return {hold["code"]: hold["message"] for hold in self.document()["holds"]}

    def refuse_replays(self) -> None:
        httpx.post(f"{self.sandbox.base_url}/sandbox/x402", json={"replays": "refused"}).raise_for_status()

    def run_sql(self, statement: str) -> None:
        with self.database.begin() as connection:
            connection.execute(text(statement))

    def check(self) -> None:
        """The books balance, and no signature is left that is not needed."""
        with self.database.begin() as connection:
            assert audit(connection) == []
        assert [row for row in self.rows() if row.state != "signed" and row.signed is not None] == []


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    with Sandbox(tmp_path / "sandbox", time_scale=0.02) as running:
        yield running


@pytest.fixture
def shop(tmp_path: Path, sandbox: Sandbox, database: Database, database_url: str) -> Shop:
    site = make_site(tmp_path, sandbox, database, database_url)
    return Shop(site.folder, site.sandbox, site.database, site.settings)


@BOTH
async def test_each_request_is_paid_once_and_the_receipt_is_kept(shop: Shop, payment: Payment) -> None:
    shop.payment = payment
    document = await shop.run(shop.make_batch(2))
    assert document["state"] == "completed"
    paid = shop.rows()
    assert [(row.state, row.signed, bool(row.transaction)) for row in paid] == [("settled", None, True)] * 2
    assert sum(row.amount for row in paid) == sum(row.charged for row in shop.rows(submissions))
    index = json.loads(next(shop.out.rglob("index.json")).read_bytes())["assets"]
    assert {asset["credits"] for asset in index} == {None}
    assert sum(Decimal(asset["usdc"]) for asset in index) == sum(row.amount for row in paid)
    shop.check()


@BOTH
@pytest.mark.parametrize("kind", ["drop-before-charge", "drop-after-charge", "402", "402-after-charge", "502-html"])
async def test_the_same_payment_is_sent_again(shop: Shop, payment: Payment, kind: str) -> None:
    shop.payment = payment
    scope = shop.make_batch(1)
    shop.play(FaultRule(at="submit", kind=kind, times=2))
    document = await shop.run(scope)
    assert document["state"] == "completed"
    (row,) = shop.rows()
    assert (row.state, row.signed, len(shop.asked("payments")["payments"])) == ("settled", None, 1)
    shop.check()


async def run_until_doubtful(shop: Shop, scope: Scope) -> None:
    """Stop once the answer was lost, with the payment as old as it has to be to be looked up."""
    with pytest.raises(TimeoutError):
        await shop.run(scope, seconds=4)
    (row,) = shop.rows()
    assert (row.state, shop.states()) == ("signed", ["in_doubt"])
    expire(shop)


def expire(shop: Shop) -> None:
    """What is signed is too old, and was seen not to settle a while ago."""
    shop.run_sql(
        "UPDATE payment SET valid_before = orchestrator_now() - interval '1 minute', due_at = orchestrator_now(), "
        "lease_token = NULL, lease_owner = NULL, lease_until = NULL, "
        "evidence = '{\"first_seen_at\": \"2026-01-01T00:00:00+00:00\"}' WHERE state = 'signed'"
    )


async def test_a_payment_that_never_settled_is_void_and_bought_anew(shop: Shop) -> None:
    scope = shop.make_batch(1)
    shop.play(FaultRule(at="submit", kind="drop-before-charge", times=None))
    await run_until_doubtful(shop, scope)
    shop.play()
    document = await shop.run(scope)
    assert document["state"] == "completed"
    first, second = shop.rows()
    assert (first.state, first.signed, second.state) == ("void", None, "settled")
    assert [row.settled_by for row in shop.rows(submissions)] == ["chain", "provider"]
    assert first.nonce != second.nonce
    shop.check()


@pytest.mark.parametrize("kind", ["drop-after-charge", "500-after-settlement"])
async def test_what_settled_without_an_answer_stays_in_doubt_and_is_written_off(shop: Shop, kind: str) -> None:
    scope = shop.make_batch(1)
    shop.refuse_replays()
    shop.play(FaultRule(at="submit", kind=kind))
    await run_until_doubtful(shop, scope)
    document = await shop.run(scope)
    assert (document["state"], shop.states()) == ("held", ["in_doubt"])
    (row,) = shop.rows()
    assert (row.state, row.signed) == ("settled", None)
    assert row.transaction in shop.holds()["in-doubt"]
    shop.run_sql("UPDATE submission SET sent_at = sent_at - interval '73 hours'")
    async with open_engine(shop.settings, shop.database, shop.provider, scope) as engine:
        await reconcile(engine)
    assert shop.jobs()["job-0"]["error"]["code"] == "payment-lost"
    assert len(shop.rows()) == 1
    shop.check()


@pytest.mark.parametrize("kind", ["pay-to", "asset", "network", "scheme", "no-header", "not-base64", "not-json"])
async def test_nothing_is_signed_for_an_offer_that_differs(shop: Shop, kind: str) -> None:
    """The first job pins the payee; the second is offered something else."""
    shop.settings = shop.settings.model_copy(update={"max_in_flight": 1})
    scope = shop.make_batch(2)
    shop.play(FaultRule(at="offer", kind=kind, skip=1, times=None))
    document = await shop.run(scope)
    assert (document["state"], sorted(shop.states())) == ("held", ["completed", "pending"])
    assert "nothing was signed" in shop.holds()["payment-refused"]
    assert len(shop.rows()) == 1
    shop.check()


async def test_what_the_guard_refused_goes_on_by_resume_once_it_is_put_right(shop: Shop) -> None:
    scope = shop.make_batch(1)
    shop.play(FaultRule(at="offer", kind="scheme"))
    assert (await shop.run(scope))["state"] == "held"
    assert "payment-refused" in shop.holds()
    with shop.database.begin() as connection:
        batches.resume_batch(connection, BATCH)
    assert (await shop.run(scope))["state"] == "completed"
    assert len(shop.rows()) == 1
    shop.check()


async def test_a_payment_that_a_killed_worker_was_sending_again_is_taken_up(shop: Shop) -> None:
    scope = shop.make_batch(1)
    shop.play(FaultRule(at="submit", kind="drop-before-charge", times=None))
    with pytest.raises(TimeoutError):
        await shop.run(scope, seconds=4)
    shop.play()
    shop.run_sql(
        "UPDATE payment SET lease_token = gen_random_uuid(), lease_owner = 999999, "
        "lease_until = orchestrator_now() + interval '1 hour', due_at = orchestrator_now()"
    )
    assert (await shop.run(scope))["state"] == "completed"
    assert len(shop.rows()) == 1
    shop.check()


async def test_a_dearer_quote_waits_for_approval(shop: Shop) -> None:
    scope = shop.make_batch(1)
    shop.play(FaultRule(at="offer", kind="price", factor=Decimal(3), times=None))
    document = await shop.run(scope)
    assert (document["state"], shop.states(), shop.rows()) == ("held", ["pending"], [])
    assert "nothing was signed" in shop.holds()["price-changed"]
    shop.check()


@pytest.mark.parametrize(("tolerance", "state"), [(None, "completed"), ("0", "held"), ("0.05", "held"), ("1", "held")])
async def test_a_quote_may_pass_the_plan_by_what_is_tolerated(shop: Shop, tolerance: str | None, state: str) -> None:
    """10 % where nothing is said, and never more; 0 is said, too."""
    scope = shop.make_batch(1)
    shop.run_sql(f"UPDATE job SET estimate = 1.01; UPDATE batch SET price_tolerance = {tolerance or 'NULL'}")
    asked = Decimal("1.09") if tolerance != "1" else Decimal("1.15")
    factor = (asked - Decimal("0.003938")) / Decimal("0.0156")
    shop.play(FaultRule(at="offer", kind="price", factor=factor, times=None))
    document = await shop.run(scope)
    assert document["state"] == state
    assert ("price-changed" in shop.holds()) == (state == "held")
    shop.check()


async def test_a_quote_above_the_reserve_respects_the_budget(shop: Shop) -> None:
    scope = shop.make_batch(1)
    shop.run_sql("UPDATE job SET estimate = 0.018; UPDATE batch SET budget = 0.019, bundle = 4")
    document = await shop.run(scope)
    assert (document["state"], shop.states(), shop.rows()) == ("held", ["pending"], [])
    assert "budget-reached" in shop.holds()
    shop.check()


async def test_two_at_once_never_pass_the_budget(shop: Shop) -> None:
    """Each job fits in at its estimate, and only some at their quotes."""
    scope = shop.make_batch(6)
    shop.run_sql("UPDATE job SET estimate = 0.0192; UPDATE batch SET budget = 0.058")
    await asyncio.gather(shop.run(scope), shop.run(scope))
    assert "budget-reached" in shop.holds()
    paid = shop.rows()
    assert sum(row.amount for row in paid) <= Decimal("0.058")
    assert sorted(shop.states()) == sorted(["completed"] * len(paid) + ["pending"] * (6 - len(paid)))
    shop.check()


async def test_a_restored_database_adopts_the_payment_without_its_signature(shop: Shop, tmp_path: Path) -> None:
    """What was sent, and is unknown to the database: the chain tells that it settled."""
    scope = shop.make_batch(1)
    shop.refuse_replays()
    shop.play(FaultRule(at="submit", kind="drop-after-charge"))
    with pytest.raises(TimeoutError):
        await shop.run(scope, seconds=4)
    (lost,) = shop.rows()
    (sent,) = [slip.receipt() for book in all_books(shop.settings.home) for slip in book.purchases()]
    shop.run_sql(
        "DELETE FROM payment; DELETE FROM ledger; DELETE FROM usage; UPDATE job SET submission_id = NULL, "
        "position = NULL, state = 'failed', error = '{}', ended_at = orchestrator_now(); DELETE FROM submission; "
        "UPDATE job SET state = 'pending', error = NULL, ended_at = NULL"
    )
    with shop.database.begin() as connection:
        assert adopting.adopt(connection, scope.account_pk, sent, bundled_catalog()) is not None
    (adopted,) = shop.rows()
    assert (adopted.state, adopted.signed, adopted.nonce) == ("signed", None, lost.nonce)
    document = await shop.run(scope)
    assert (document["state"], shop.states()) == ("held", ["in_doubt"])
    (row,) = shop.rows()
    assert row.state == "settled"
    shop.check()


async def test_a_bundle_shares_its_payment_exactly(shop: Shop) -> None:
    document = await shop.run(shop.make_batch(3, bundle=3))
    assert document["state"] == "completed"
    (row,) = shop.rows()
    assert sum(Decimal(job["usdc"]["spent"]) for job in shop.jobs().values()) == row.amount
    shop.check()


async def test_a_person_cannot_call_not_charged_what_may_still_settle(shop: Shop) -> None:
    scope = shop.make_batch(1)
    shop.play(FaultRule(at="submit", kind="drop-before-charge", times=None))
    with pytest.raises(TimeoutError):
        await shop.run(scope, seconds=4)
    with pytest.raises(UsageError, match="may still settle"):
        resolve(BATCH, "job-0", shop.settings, "not-charged")
    resolve(BATCH, "job-0", shop.settings, "charged")
    (row,) = shop.rows()
    assert (row.state, row.signed) == ("signed", None), "its chain ends it, not a person"
    shop.check()


@pytest.mark.parametrize("said", ["charged", UUID(int=7)])
@pytest.mark.parametrize("has_settled", [True, False])
async def test_a_word_that_is_taken_back_pays_for_nothing_twice(
    shop: Shop, said: Literal["charged"] | UUID, has_settled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a person said before: only its chain tells that a payment cannot settle."""
    monkeypatch.setattr("orchestrator.operations.resolving.is_told", lambda *_: False)  # it cannot be asked now
    scope = shop.make_batch(1)
    shop.refuse_replays()
    shop.play(FaultRule(at="submit", kind="drop-after-charge" if has_settled else "drop-before-charge", times=None))
    with pytest.raises(TimeoutError):
        await shop.run(scope, seconds=3)
    shop.play()
    resolve(BATCH, "job-0", shop.settings, said)
    if said != "charged":
        resolve(BATCH, "job-0", shop.settings, "charged")
    with pytest.raises(UsageError, match="may still settle"):
        resolve(BATCH, "job-0", shop.settings, "not-charged")
    with shop.database.begin() as connection, pytest.raises(SpendRefused, match="may still settle"):
        retrying.choose(connection, BATCH, job=None, error=None, again=True)
    expire(shop)
    await shop.run(scope)
    (row,) = shop.rows()
    if has_settled:
        assert row.state == "settled"
        with pytest.raises(UsageError, match="was charged"):
            resolve(BATCH, "job-0", shop.settings, "not-charged")
    else:
        assert (row.state, shop.states()) == ("void", ["failed"])
        resolve(BATCH, "job-0", shop.settings, "not-charged")
        assert (await shop.run(scope))["state"] == "completed"
    assert len(shop.asked("payments")["payments"]) == 1
    shop.check()


async def test_a_request_that_was_named_for_nothing_costs_nothing_once_the_chain_has_told(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person named a request, unchecked; what was signed for it never settled."""
    monkeypatch.setattr("orchestrator.operations.resolving.is_told", lambda *_: False)  # it cannot be asked now
    scope = shop.make_batch(1)
    shop.play(FaultRule(at="submit", kind="drop-before-charge", times=None))
    with pytest.raises(TimeoutError):
        await shop.run(scope, seconds=3)
    shop.play()
    resolve(BATCH, "job-0", shop.settings, UUID(int=7))
    expire(shop)
    leased = "lease_token = gen_random_uuid(), lease_owner = 1, lease_until = orchestrator_now() + interval '1 hour'"
    shop.run_sql(f"UPDATE submission SET {leased}")
    async with open_engine(shop.settings, shop.database, shop.provider, scope) as engine:
        (work,) = await replay.claim(engine, 9)
        await replay.go_on(engine, work)
    assert [row.state for row in shop.rows()] == ["signed"], "it is left alone while the provider is asked about it"
    shop.run_sql("UPDATE submission SET lease_token = NULL, lease_owner = NULL, lease_until = NULL")
    expire(shop)
    document = await shop.run(scope)
    assert (document["state"], shop.jobs()["job-0"]["attempts"]) == ("completed", 2)
    assert [row.state for row in shop.rows()] == ["void", "settled"]
    assert [row.settled_by for row in shop.rows(submissions)] == ["chain", "provider"]
    assert Decimal(document["usdc"]["spent"]) == shop.rows()[1].amount
    assert document["usdc"]["lost"] == "0"
    shop.check()


async def test_the_clock_ends_no_payment_and_a_day_without_a_chain_leaves_it_to_a_person(shop: Shop) -> None:
    scope = shop.make_batch(1)
    shop.play(FaultRule(at="submit", kind="drop-before-charge", times=None))
    with pytest.raises(TimeoutError):
        await shop.run(scope, seconds=3)
    shop.run_sql("UPDATE submission SET sent_at = sent_at - interval '73 hours'")
    shop.run_sql("UPDATE payment SET evidence = NULL, due_at = orchestrator_now() + interval '1 day'")
    async with open_engine(shop.settings, shop.database, shop.provider, scope) as engine:
        await reconcile(engine)
    (row,) = shop.rows()
    assert (row.state, shop.jobs()["job-0"]["error"]["code"]) == ("signed", "payment-lost")
    shop.run_sql("UPDATE payment SET valid_before = orchestrator_now() - interval '25 hours'")
    with pytest.raises(UsageError, match="may still settle"):
        resolve(BATCH, "job-0", shop.settings, "not-charged")  # nobody has asked its chain
    shop.run_sql('UPDATE payment SET evidence = \'{"error": "out of reach"}\'')
    resolve(BATCH, "job-0", shop.settings, "not-charged")
    assert (shop.rows()[0].state, shop.states()) == ("void", ["pending"])
    shop.check()


async def test_a_batch_that_has_ended_is_resumed_while_a_payment_of_it_may_settle(shop: Shop) -> None:
    scope = shop.make_batch(1)
    shop.play(FaultRule(at="submit", kind="drop-before-charge", times=None))
    with pytest.raises(TimeoutError):
        await shop.run(scope, seconds=3)
    resolve(BATCH, "job-0", shop.settings, "charged")
    await shop.run(scope)
    with shop.database.begin() as connection:
        assert reads.batch_header(connection, BATCH).is_open
    expire(shop)
    assert (await shop.run(scope))["state"] == "failed"
    with shop.database.begin() as connection:
        assert not reads.batch_header(connection, BATCH).is_open


async def test_no_signature_is_kept_anywhere_but_in_its_row(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    scope = shop.make_batch(1)
    shop.play(FaultRule(at="submit", kind="drop-before-charge", times=None))
    with pytest.raises(TimeoutError):
        await shop.run(scope, seconds=4)
    (row,) = shop.rows()
    signature = json.loads(base64.b64decode(row.signed))["payload"]["signature"]
    written = b"".join(path.read_bytes() for path in shop.settings.home.rglob("*") if path.is_file())
    with shop.database.begin() as connection:
        tables = ("submission", "job", "event", "hold", "ledger", "notification")
        told = [str(connection.execute(text(f"SELECT * FROM {name}")).all()) for name in tables]
    for secret in (row.signed, signature):
        assert secret.encode() not in written
        assert secret not in caplog.text + "".join(told)
    assert isinstance(row.id, UUID)


async def test_what_surely_did_not_leave_is_void_at_once(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """It took so long to put it on record that its connection is not to be trusted any more."""
    scope = shop.make_batch(1)
    monkeypatch.setattr("orchestrator.katana.phase._LONGEST_OPEN", timedelta(0))
    with pytest.raises(TimeoutError):
        await shop.run(scope, seconds=2)
    unsent = shop.rows()[0]
    assert (unsent.state, unsent.signed) == ("void", None)
    monkeypatch.undo()
    document = await shop.run(scope)
    assert document["state"] == "completed"
    assert len(shop.asked("payments")["payments"]) == 1
    shop.check()


@BOTH
async def test_what_was_paid_for_is_fetched_though_its_batch_is_cancelled(shop: Shop, payment: Payment) -> None:
    """Its payment has left: only the same one again tells which request it has bought."""
    shop.payment = payment
    scope = shop.make_batch(1)
    shop.play(
        FaultRule(at="submit", kind="drop-after-charge"), FaultRule(at="submit", kind="drop-before-charge", times=None)
    )
    with pytest.raises(TimeoutError):
        await shop.run(scope, seconds=2)
    with shop.database.begin() as connection:
        batches.cancel_batch(connection, BATCH)
    shop.play()
    await shop.run(scope)
    assert shop.states() == ["completed"]
    assert len(shop.asked("payments")["payments"]) == 1
    shop.check()


async def test_payments_that_come_to_nothing_are_not_signed_for_ever(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.payments.evm.VALID_FOR", timedelta(seconds=3))
    monkeypatch.setattr("orchestrator.engine.validity.MARGIN", timedelta(seconds=1))
    monkeypatch.setattr("orchestrator.engine.validity.LOOK_SECONDS", 0.5)
    monkeypatch.setattr("orchestrator.engine.replay.LOOK_SECONDS", 0.5)
    scope = shop.make_batch(1)
    shop.play(FaultRule(at="submit", kind="402", times=None))
    document = await shop.run(scope, seconds=60)
    assert (document["state"], shop.states()) == ("held", ["pending"])
    assert [row.state for row in shop.rows()] == ["void", "void"]
    assert "HTTP 402" in shop.holds()["payment-refused"]
    shop.check()


async def test_a_wallet_that_is_empty_after_a_payment_came_to_nothing_signs_no_more(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    scope = shop.make_batch(1)
    shop.play(FaultRule(at="submit", kind="drop-before-charge", times=None))
    await run_until_doubtful(shop, scope)
    shop.play()
    with monkeypatch.context() as patched:
        patched.setattr("orchestrator.sandbox.base_rpc.FIRST_FUNDS", 1)  # of a millionth: its owner took the rest
        document = await shop.run(scope)
    assert (document["state"], shop.states()) == ("held", ["pending"])
    assert [row.state for row in shop.rows()] == ["void"]
    assert "0.000001 USDC on base, a payment of " in shop.holds()["balance-low"]
    assert (await shop.resume(scope))["state"] == "completed"
    shop.check()


async def test_the_recipients_account_on_solana_is_paid_for_once(shop: Shop) -> None:
    shop.payment = Payment.X402_SOLANA
    document = await shop.run(shop.make_batch(4))
    assert document["state"] == "completed"
    assert sorted(row.amount > Decimal("0.1") for row in shop.rows()) == [False, False, False, True]
    shop.check()
