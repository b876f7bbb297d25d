"""A batch that is paid in USDC is stored in USDC, with what the catalogue asks in credits beside it."""

from decimal import Decimal

import pytest

from orchestrator.base.payments import Payment, Unit
from orchestrator.catalog.bundled import bundled_catalog
from orchestrator.planner.result import PlannedJob
from orchestrator.store import accounts, creating, reads
from orchestrator.store.database import Database
from orchestrator.store.tables import accounts as account_table
from orchestrator.store.tables import batches, jobs

from .store_rows import row

WORK = Decimal("0.0156")  # three credits, as the guide prices `gen`


def store(database: Database, payment: Payment, *, bundle: int = 1) -> str:
    batch_id = f"paid-{payment}-{bundle}"
    with database.begin() as connection:
        account_pk = accounts.account_pk(connection, "https://example.com", f"{payment}:someone", payment.unit)
        planned = PlannedJob(0, "mug", "image", "gen", {"type": "image"}, {}, Decimal(3), fingerprint="fp1:mug")
        creating.create_batch(
            connection,
            creating.NewBatch(
                id=batch_id,
                name="paid",
                sandbox=False,
                account_pk=account_pk,
                destination="file:///nowhere",
                media="/nowhere",
                key="{name}/{job}/{index}-{sha8}{ext}",
                bundle=bundle,
                labels={},
                manifest="/nowhere/paid.yaml",
                catalog=bundled_catalog(),
                estimated=WORK,
                budget=Decimal("0.5"),
                usd_per_credit=Decimal(1),
                jobs=[planned],
                payment=payment,
                work_credits=Decimal(3),
            ),
        )
    return batch_id


@pytest.mark.parametrize(
    ("payment", "bundle", "estimate"),
    [
        (Payment.X402_BASE, 1, WORK + Decimal("0.01")),
        (Payment.X402_SOLANA, 4, WORK + Decimal("0.0025")),
        (Payment.WALLET_BASE, 1, WORK),
        (Payment.WALLET_SOLANA, 4, WORK),
    ],
)
def test_its_jobs_set_aside_what_the_payment_needs(
    database: Database, payment: Payment, bundle: int, estimate: Decimal
) -> None:
    batch_id = store(database, payment, bundle=bundle)
    job, batch = row(database, jobs, batch_id=batch_id), row(database, batches, id=batch_id)
    assert (job.estimate, job.work_credits) == (estimate, 3)
    assert (batch.payment, batch.work_credits) == (payment, 3)
    assert row(database, account_table, pk=batch.account_pk).unit == Unit.USDC
    with database.begin() as connection:
        header = reads.batch_header(connection, batch_id)
    assert (header.payment, header.bundle, header.unsent_credits) == (payment, bundle, estimate)


def test_an_account_keeps_its_unit(database: Database) -> None:
    with database.begin() as connection:
        first = accounts.account_pk(connection, "https://example.com", "x402-base:someone", Unit.USDC)
        assert accounts.account_pk(connection, "https://example.com", "x402-base:someone") == first
    assert row(database, account_table, pk=first).unit == Unit.USDC


def test_an_accounts_name_says_how_it_pays() -> None:
    assert [Payment.of_account(f"{payment}:0xabc") for payment in Payment] == list(Payment)
    assert Payment.of_account("sandbox:things-20261122-0001") is None
