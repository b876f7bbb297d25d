"""Top-ups of a wallet's balance, to their ends: paid once, reported once, void where they cannot settle any more."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select, text

from orchestrator.base.errors import SpendRefused
from orchestrator.base.ethereum import Account  # eth-account, kept harmless
from orchestrator.base.payments import Network
from orchestrator.base.settings import Settings
from orchestrator.operations import topping_up, wallet
from orchestrator.operations.topping_up import ToppedUp
from orchestrator.sandbox import FaultRule, Faults, Sandbox
from orchestrator.store.caps import Limit, set_caps
from orchestrator.store.database import Database
from orchestrator.store.tables import accounts, payments

AMOUNT = Decimal(2)
CAP = Limit(Decimal(1), "usdc")


class Reports(list[ToppedUp]):
    """What a command reported."""


class Purse:
    """A wallet at one provider, and what a person does with it."""

    def __init__(self, sandbox: Sandbox, database: Database, database_url: str, home: Path) -> None:
        url = sandbox.base_url
        self.sandbox, self.database = sandbox, database
        self.settings = Settings(
            ORCHESTRATOR_DATABASE_URL=database_url,
            ORCHESTRATOR_HOME=home,
            katana_base_url=url,
            base_rpc_url=f"{url}/rpc/base",
            solana_rpc_url=f"{url}/rpc/solana",
            evm_private_key="0x" + Account.create().key.hex().removeprefix("0x"),
        )
        self.said: list[str] = []

    def top_up(self, amount: Decimal = AMOUNT, *, dies: bool = False, is_another: bool = False) -> ToppedUp:
        """The command; `dies` before it has reported anything."""

        def report(_: ToppedUp) -> None:
            if dies:
                raise KeyboardInterrupt

        done = wallet.top_up(
            self.settings,
            Network.BASE,
            amount,
            is_another=is_another,
            agree=lambda *_: True,
            tell=self.said.append,
            report=report,
        )
        assert done is not None
        return done

    def die_unseen(self) -> None:
        with pytest.raises(KeyboardInterrupt):
            self.top_up(dies=True)

    def play(self, *rules: FaultRule) -> None:
        self.sandbox.play(Faults.of(*rules))

    def refuse_replays(self) -> None:
        httpx.post(f"{self.sandbox.base_url}/sandbox/x402", json={"replays": "refused"}).raise_for_status()

    def run_sql(self, statement: str) -> None:
        with self.database.begin() as connection:
            connection.execute(text(statement))

    def expire(self) -> None:
        """What is signed is too old, and was seen not to settle a while ago."""
        self.run_sql(
            "UPDATE payment SET valid_before = orchestrator_now() - interval '1 minute', due_at = orchestrator_now(), "
            "evidence = '{\"first_seen_at\": \"2026-01-01T00:00:00+00:00\"}' WHERE state = 'signed'"
        )

    def rows(self) -> list[Any]:
        with self.database.begin() as connection:
            return list(connection.execute(select(payments).order_by(payments.c.created_at)))

    @property
    def payments(self) -> int:
        """How often the wallet has paid, by the provider's own books."""
        return len(httpx.get(f"{self.sandbox.base_url}/sandbox/payments").json()["payments"])


@pytest.fixture
def purse(tmp_path: Path, database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Purse]:
    monkeypatch.setattr(topping_up, "PATIENCE_SECONDS", 3.0)
    with Sandbox(tmp_path / "sandbox", time_scale=0) as sandbox:
        yield Purse(sandbox, database, database_url, tmp_path / "home")


def test_two_in_a_row_are_two_where_the_first_was_reported(purse: Purse) -> None:
    assert [purse.top_up().is_earlier for _ in range(2)] == [False, False]
    assert purse.payments == 2


def test_what_settled_and_was_not_reported_is_reported_and_not_paid_again(purse: Purse) -> None:
    purse.die_unseen()
    again = purse.top_up()
    assert (again.is_earlier, again.is_credited, again.top_up.credited) == (True, True, AMOUNT)
    assert purse.payments == 1
    assert not purse.top_up().is_earlier
    assert purse.payments == 2


def test_another_one_is_paid_where_a_person_says_so(purse: Purse) -> None:
    purse.die_unseen()
    assert not purse.top_up(is_another=True).is_earlier
    assert purse.payments == 2
    assert not purse.top_up().is_earlier


def test_what_cannot_settle_any_more_is_void_and_another_is_paid(purse: Purse) -> None:
    purse.play(FaultRule(at="top-up", kind="drop-before-charge", times=None))
    lost = purse.top_up()
    assert (lost.top_up.state, lost.is_credited, purse.payments) == ("signed", False, 0)
    purse.play()
    purse.expire()
    done = purse.top_up()
    assert (done.top_up.state, done.is_earlier, purse.payments) == ("settled", False, 1)
    first, second = purse.rows()
    assert (first.state, first.signed, second.state) == ("void", None, "settled")
    assert "it cannot settle any more, and has not: nothing was paid" in purse.said


def test_what_settled_without_an_answer_is_found_on_the_chain_and_in_the_list(purse: Purse) -> None:
    purse.refuse_replays()
    purse.play(FaultRule(at="top-up", kind="drop-after-charge"))
    assert purse.top_up().top_up.state == "signed"
    purse.expire()
    done = purse.top_up()
    assert (done.top_up.state, done.is_earlier, done.is_credited) == ("settled", True, True)
    assert (done.top_up.receipt, done.balance, purse.payments) == (None, AMOUNT, 1)
    (row,) = purse.rows()
    assert (row.signed, row.transaction) == (None, done.top_up.transaction)


def test_a_database_that_was_put_back_takes_the_top_up_over(purse: Purse) -> None:
    purse.die_unseen()
    purse.run_sql("DELETE FROM payment")
    again = purse.top_up()
    assert (again.is_earlier, again.is_credited, purse.payments) == (True, True, 1)
    purse.run_sql("DELETE FROM payment")
    assert not purse.top_up().is_earlier, "what was reported is known from its receipt"
    assert [row.state for row in purse.rows()] == ["settled", "settled"]


def test_nothing_is_sent_without_a_receipt(purse: Purse, tmp_path: Path) -> None:
    purse.top_up()
    (book,) = (tmp_path / "home" / "receipts").iterdir()
    (book / "top-ups").unlink()
    (book / "top-ups").mkdir()
    unsent = purse.top_up()
    assert (unsent.top_up.state, purse.payments) == ("signed", 1)
    (book / "top-ups").rmdir()
    purse.run_sql("UPDATE payment SET due_at = orchestrator_now() WHERE state = 'signed'")
    assert (purse.top_up().top_up.state, purse.payments) == ("settled", 2)


def test_one_that_is_larger_than_a_cap_is_refused_with_the_command(purse: Purse) -> None:
    purse.top_up(Decimal(1))
    with purse.database.begin() as connection:
        account = connection.execute(select(accounts.c.pk)).scalar_one()
        set_caps(connection, account, {"daily": CAP})
    assert not purse.top_up(Decimal(1)).is_earlier, "what is put there is not spent"
    with pytest.raises(SpendRefused, match=r"above the account's daily cap of 1: nothing was signed") as refused:
        purse.top_up()
    assert refused.value.hint == "orchestrator budget set --daily 2usdc --payment wallet-base"
    assert purse.payments == 2
