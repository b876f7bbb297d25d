"""A collection submitted with another way of paying: its open batch is in the way, and nothing is bought twice."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Connection, select, text

from orchestrator.base.payments import Payment
from orchestrator.store import accounts, batches, settling, superseding
from orchestrator.store.database import Database
from orchestrator.store.tables import jobs

from .store_rows import claim, job_states
from .usdc_rows import usdc_account, usdc_batch

Find = Callable[[Connection, str, int], str | None]
OLDER, NEWER = "paid-20261122-0001", "paid-20261122-0002"


@pytest.fixture
def pair(database: Database) -> Database:
    """An older batch that a balance pays for, and a newer one of the same collection that is paid by the request."""
    usdc_batch(database, OLDER, payment=Payment.WALLET_BASE)
    usdc_batch(database, NEWER, payment=Payment.X402_BASE)
    with database.begin() as connection:
        connection.execute(text("UPDATE job SET fingerprint = 'the same ' || name"))
    return database


@pytest.mark.parametrize("find", [batches.open_batch_of, settling.moving_batch_of])
@pytest.mark.parametrize("payment", [Payment.X402_BASE, Payment.WALLET_SOLANA, Payment.WALLET_BASE])
def test_a_batch_that_another_account_pays_for_is_in_the_way(database: Database, find: Find, payment: Payment) -> None:
    usdc_batch(database, OLDER, payment=Payment.WALLET_BASE)
    own = usdc_account(database, payment)
    with database.begin() as connection:
        assert find(connection, "paid", own) == OLDER
        assert find(connection, "other", own) is None
        elsewhere = accounts.account_pk(connection, "http://another", "somebody")
        assert find(connection, "paid", elsewhere) is None


@pytest.mark.parametrize("find", [batches.open_batch_of, settling.moving_batch_of])
def test_sandboxes_are_in_nobodys_way(database: Database, find: Find) -> None:
    usdc_batch(database, OLDER, payment=Payment.WALLET_BASE)
    with database.begin() as connection:
        connection.execute(text("UPDATE batch SET sandbox = true"))
        connection.execute(text("UPDATE account SET origin = 'sandbox'"))
        other = accounts.account_pk(connection, "sandbox", "sandbox:another")
        assert find(connection, "paid", other) is None


def test_what_another_account_has_not_sent_is_taken_over(pair: Database) -> None:
    with pair.begin() as connection:
        superseding.take_over(connection, NEWER)
    assert (job_states(pair, OLDER), job_states(pair, NEWER)) == (["skipped"] * 2, ["pending"] * 2)


def test_what_comes_back_is_left_to_what_another_account_buys(pair: Database) -> None:
    with pair.begin() as connection:
        own = connection.execute(select(jobs.c.pk).where(jobs.c.batch_id == OLDER)).scalars().all()
        superseding.leave_to_newer(connection, own)
    assert job_states(pair, OLDER) == ["skipped"] * 2


def test_while_a_batch_is_stored_no_account_of_its_provider_claims(pair: Database) -> None:
    newer, older = usdc_account(pair), usdc_account(pair, Payment.WALLET_BASE)
    with ThreadPoolExecutor(1) as worker:
        with pair.begin() as connection:
            accounts.lock_accounts_beside(connection, newer)
            claiming = worker.submit(claim, pair, accounts.Scope(older, (OLDER,)))
            with pytest.raises(TimeoutError):
                claiming.result(timeout=0.5)
            superseding.take_over(connection, NEWER)
        assert claiming.result(timeout=30) == []
