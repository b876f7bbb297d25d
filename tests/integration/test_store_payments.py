"""Signed payments in the store. A quote is reserved while its request is under way, and is no plan: what goes back goes
back as it was agreed.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from orchestrator.base.states import HoldCode, SettledBy, SubmissionState
from orchestrator.store import leases, payments, quotes, replaying, resolving, sending
from orchestrator.store.audit import audit
from orchestrator.store.batches import lock_batch
from orchestrator.store.claims import ClaimedSubmission
from orchestrator.store.database import Connection, Database
from orchestrator.store.holds import put_hold
from orchestrator.store.leases import Lease

from .store_rows import claim, mark_sent
from .usdc_rows import BATCH, RESERVE, pay, signed, usdc_batch

#: What it is quoted at, with an account's rent in it; what a person approved.
QUOTED, APPROVED = Decimal("0.28"), 2 * RESERVE


def take_back(connection: Connection, work: ClaimedSubmission) -> None:
    assert sending.take_back(connection, work.id, work.token, reason="no blockhash")


def return_unsent(connection: Connection, work: ClaimedSubmission) -> None:
    mark_sent(connection, work.id, work.token)
    assert sending.record_returned(
        connection, work.id, work.token, end=SubmissionState.NOT_SENT, answer={}, retry_in_seconds=0
    )


def rescue(connection: Connection, work: ClaimedSubmission) -> None:
    connection.execute(text("UPDATE submission SET lease_until = orchestrator_now() - interval '1 second'"))
    assert leases.rescue(connection).not_sent == 1


def make_doubtful(connection: Connection, work: ClaimedSubmission) -> None:
    mark_sent(connection, work.id, work.token)
    sending.record_unknown(connection, work.id, work.token, {})


def make_void(connection: Connection, work: ClaimedSubmission) -> None:
    make_doubtful(connection, work)
    assert resolving.settle_as_not_charged(connection, work.id, SettledBy.CHAIN, {})


def take_back_loss(connection: Connection, work: ClaimedSubmission) -> None:
    make_doubtful(connection, work)
    assert resolving.settle_as_charged(connection, work.id, SettledBy.WRITE_OFF, {})
    assert resolving.take_back_loss(connection, work.id, {})


@pytest.mark.parametrize("approved", [None, APPROVED])
@pytest.mark.parametrize("go_back", [take_back, return_unsent, rescue, make_void, take_back_loss])
def test_what_goes_back_costs_what_was_agreed(
    database: Database, go_back: Callable[[Connection, ClaimedSubmission], None], approved: Decimal | None
) -> None:
    scope = usdc_batch(database, jobs=1)
    if approved is not None:
        with database.begin() as connection:
            quotes.reprice_unsent(connection, BATCH, "gen", approved / RESERVE)
    agreed = approved or RESERVE
    for _ in range(2):
        (work,) = claim(database, scope)
        assert work.reserved == agreed
        with database.begin() as connection:
            assert quotes.raise_reserve(connection, work.id, work.token, QUOTED)
        with database.begin() as connection:
            go_back(connection, work)
    (work,) = claim(database, scope)
    assert work.reserved == agreed
    with database.begin() as connection:
        assert audit(connection) == []


def test_no_more_is_reserved_for_what_was_held_meanwhile(database: Database) -> None:
    scope = usdc_batch(database, jobs=1)
    (work,) = claim(database, scope)
    with database.begin() as connection:
        put_hold(connection, BATCH, HoldCode.PAYMENT_REFUSED, "no more is signed", "what to do")
    with database.begin() as connection:
        assert not quotes.raise_reserve(connection, work.id, work.token, QUOTED)
        assert not quotes.raise_reserve(connection, work.id, uuid4(), QUOTED)
        assert audit(connection) == []


def test_no_more_is_reserved_beside_a_hold_that_is_just_being_put(database: Database) -> None:
    scope = usdc_batch(database, jobs=1)
    (work,) = claim(database, scope)

    def raise_reserve() -> bool:
        with database.begin() as connection:
            return quotes.raise_reserve(connection, work.id, work.token, QUOTED)

    with ThreadPoolExecutor(1) as other:
        with database.begin() as connection:
            lock_batch(connection, BATCH)
            put_hold(connection, BATCH, HoldCode.PAYMENT_REFUSED, "no more is signed", "what to do")
            raised = other.submit(raise_reserve)
            with pytest.raises(TimeoutError):
                raised.result(timeout=0.2)
        assert not raised.result(timeout=10), "it has waited for the hold"


def test_the_payment_of_a_dead_replayer_is_taken_up(database: Database) -> None:
    scope = usdc_batch(database, jobs=1)
    work = pay(database, scope)
    with database.begin() as connection:
        sending.record_unknown(connection, work.id, work.token, {})
        lease = Lease(uuid4(), 999_999, 600)
        assert replaying.claim_open(connection, scope, lease=lease, limit=1)
    with database.begin() as connection:
        assert leases.rescue(connection).released == 1
        (again,) = replaying.claim_open(connection, scope, lease=Lease(uuid4(), 999_999, 600), limit=1)
    assert (again.id, again.header) == (work.id, "a header that is money")


def test_an_error_of_the_database_does_not_repeat_a_signature(database: Database) -> None:
    scope = usdc_batch(database, jobs=1)
    (work,) = claim(database, scope)
    with database.begin() as connection:
        connection.execute(text("ALTER TABLE payment ADD CONSTRAINT boom CHECK (amount < 0)"))
        with pytest.raises(DBAPIError) as caught:
            payments.record_signed(connection, work.id, signed(), "e" * 200 + "the signature itself")
        connection.rollback()
    assert "signature itself" not in f"{caught.value} {caught.value!r} {caught.value.__context__}"
