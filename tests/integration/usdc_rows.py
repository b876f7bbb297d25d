"""Rows of batches that USDC pays for, made by the store's own steps."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import uuid4

from sqlalchemy import text

from orchestrator.base.payments import CHAINS, Network, Payment, Unit
from orchestrator.base.states import JobState
from orchestrator.receipts.receipt import OrderedPayment
from orchestrator.store import accounts, payments, polling, quotes
from orchestrator.store.accounts import Scope
from orchestrator.store.claims import ClaimedSubmission
from orchestrator.store.database import Database
from orchestrator.store.polling import ItemOutcome

from .store_rows import ORIGIN, claim, make_batch, mark_sent, record_accepted

PAYER = "0x19E7E376E7C213B7E7e7e46cc70A5dD086DAff2A"
BATCH = "paid-20261122-0001"
#: The work of a job in credits and USDC, what is reserved for it with its settlement, and what is asked for it.
WORK_CREDITS, WORK, RESERVE, QUOTE = Decimal(14), Decimal("0.0728"), Decimal("0.0828"), Decimal("0.076738")


def usdc_account(database: Database, payment: Payment = Payment.X402_BASE) -> int:
    with database.begin() as connection:
        return accounts.account_pk(connection, ORIGIN, f"{payment}:{PAYER}", Unit.USDC)


def usdc_batch(
    database: Database, batch_id: str = BATCH, *, jobs: int = 2, payment: Payment = Payment.X402_BASE
) -> Scope:
    """A running batch of image jobs that USDC pays for, each in a request of its own."""
    scope = make_batch(database, batch_id, jobs=jobs, account_pk=usdc_account(database, payment), name="paid")
    with database.begin() as connection:
        values = {"batch": batch_id, "payment": payment, "n": jobs, "reserve": RESERVE, "credits": WORK_CREDITS}
        connection.execute(
            text(
                "UPDATE batch SET payment = :payment, usd_per_credit = 1, estimated = :n * CAST(:reserve AS numeric), "
                "work_credits = :n * CAST(:credits AS numeric) WHERE id = :batch"
            ),
            values,
        )
        connection.execute(
            text("UPDATE job SET estimate = :reserve, work_credits = :credits WHERE batch_id = :batch"), values
        )
    return scope


def signed(amount: Decimal = QUOTE) -> OrderedPayment:
    return OrderedPayment(
        network=Network.BASE,
        payer=PAYER,
        pay_to="0xc523Ec7ca36DD277130b874Ae6776B97E074F6Be",
        asset=CHAINS[Network.BASE].usdc,
        amount=amount,
        nonce=f"0x{uuid4().hex}{uuid4().hex}",
        valid_before=datetime.now(UTC) + timedelta(minutes=5),
    )


def pay(database: Database, scope: Scope) -> ClaimedSubmission:
    """Claim one job, bring its reserve to the quote and commit its signed payment with what is sent."""
    work = claim(database, scope, limit=1)[0]
    with database.begin() as connection:
        quotes.reserve_exactly(connection, work.id, QUOTE)
        payments.record_signed(connection, work.id, signed(), "a header that is money")
        assert mark_sent(connection, work.id, work.token)
    return work


def accept(database: Database, work: ClaimedSubmission) -> None:
    with database.begin() as connection:
        assert record_accepted(
            connection,
            work.id,
            request_id=str(uuid4()),
            provider_status=None,
            answer={},
            poll_in_seconds=1,
            settlement={"transaction": "0xfeed"},
        )


def finish(database: Database, work: ClaimedSubmission) -> None:
    """The job failed at the provider, and costs what was paid for it all the same."""
    with database.begin() as connection:
        outcome = ItemOutcome(0, JobState.FAILED, QUOTE, error={"code": "provider-failed", "message": "no"})
        polling.record_outcomes(connection, {work.id: [outcome]})
        polling.resolve_finished(connection, {work.id: "failed"})
