"""Money in USDC as people and scripts see it: documents, ledger, statement, audit, caps; never mixed with credits."""

from datetime import UTC, date, datetime
from decimal import Decimal
from io import StringIO
from pathlib import Path
from uuid import uuid4

import pytest
from rich.console import Console
from sqlalchemy import insert, text

from orchestrator.base.errors import UsageError
from orchestrator.base.payments import Payment
from orchestrator.base.settings import Settings
from orchestrator.base.states import Book
from orchestrator.cli.batch_view import batch_table, summary
from orchestrator.cli.jobs_view import by_error, error_table, jobs_csv
from orchestrator.cli.ledger_view import entries_csv, entry_table, statement_lines, sums_csv, sums_table
from orchestrator.operations import bookkeeping, budgeting, resolving
from orchestrator.operations.budgeting import Limit
from orchestrator.store import batches, entries, job_reads, paid, reads, sending, statements
from orchestrator.store.audit import audit
from orchestrator.store.database import Database
from orchestrator.store.entries import Selection
from orchestrator.store.tables import holds, payments, readings

from .store_rows import ORIGIN, claim, make_batch, row
from .usdc_rows import BATCH, PAYER, QUOTE, WORK, accept, finish, pay, usdc_account, usdc_batch

KEY = "0x" + "11" * 32


@pytest.fixture
def settings(database: Database, tmp_path: Path) -> Settings:
    url = database.engine.url.render_as_string(hide_password=False)
    return Settings(
        ORCHESTRATOR_DATABASE_URL=url,
        ORCHESTRATOR_HOME=tmp_path,
        katana_base_url=ORIGIN,
        evm_private_key=KEY,
    )


def rules(database: Database, batch_id: str | None = None) -> set[str]:
    with database.begin() as connection:
        return {finding.rule for finding in audit(connection, batch_id)}


def shown(*parts: object) -> str:
    console = Console(file=StringIO(), width=200, markup=False, record=True)
    for part in parts:
        console.print(part)
    return console.export_text()


def test_a_batchs_document_tells_usdc_beside_what_the_work_is_worth_in_credits(database: Database) -> None:
    scope = usdc_batch(database)
    finish_one = pay(database, scope)
    accept(database, finish_one)
    finish(database, finish_one)
    doubtful = pay(database, scope)
    with database.begin() as connection:
        sending.record_unknown(connection, doubtful.id, doubtful.token, {})
        document = reads.batch_document(connection, BATCH)
        failed, in_doubt = job_reads.job_documents(connection, BATCH)
    assert document["credits"] == {
        "estimated": "28", "reserved": "0", "spent": "0", "in_doubt": "0", "lost": "0", "budget": None,
    }  # fmt: skip
    assert document["usdc"] == {
        "estimated": "0.1656", "reserved": "0", "spent": "0.076738", "in_doubt": "0.076738", "lost": "0",
        "budget": None,
    }  # fmt: skip
    assert document["usd"] == {"estimated": "0.1656", "spent": "0.076738"}
    assert failed["credits"] == {"estimated": "14", "spent": "0"}
    assert failed["usdc"] == {"estimated": "0.0828", "spent": "0.076738"}
    assert failed["history"][0]["usdc"] == "0.076738"
    assert failed["history"][0]["credits"] is None
    assert failed["payment"] == {
        "network": "base",
        "payer": PAYER,
        "pay_to": "0xc523Ec7ca36DD277130b874Ae6776B97E074F6Be",
        "amount_atomic": "76738",
        "transaction": "0xfeed",
        "state": "settled",
    }
    assert (in_doubt["payment"]["state"], in_doubt["payment"]["transaction"]) == ("signed", None)
    texts = shown(
        *summary(document, [failed]), *batch_table([document]), error_table(by_error([failed])), jobs_csv([in_doubt])
    )
    assert "spent 0.076738 USDC of 0.1656 USDC estimated, 0.076738 in_doubt".replace("_", " ") in texts
    assert "credits" not in texts


def test_a_credit_batch_says_nothing_of_usdc(database: Database) -> None:
    make_batch(database)
    with database.begin() as connection:
        document = reads.batch_document(connection, "things-20261122-0001")
        job = job_reads.job_documents(connection, "things-20261122-0001")[0]
    assert (document["usdc"], job["usdc"], job["payment"]) == (None, None, None)
    assert document["credits"]["estimated"] == "9"
    assert job["credits"] == {"estimated": "3", "spent": None}
    assert "USDC" not in shown(*summary(document), *batch_table([document]))
    assert jobs_csv([job]).splitlines()[0].endswith("charged,labels,files")


def test_sums_and_entries_keep_units_apart(database: Database, settings: Settings) -> None:
    pay(database, usdc_batch(database, jobs=1))
    credit_scope = make_batch(database, "things-1", jobs=1)
    claim(database, credit_scope)
    with database.begin() as connection:
        sums = entries.sums_of(connection, Selection())
        assert (sums.credits[Book.RESERVED], sums.usdc[Book.RESERVED]) == (3, QUOTE)
        assert sums.usd[Book.RESERVED] == QUOTE + 3 * Decimal("0.0052")
        rows = [bookkeeping._entry_document(found) for found in entries.entries(connection, Selection())]
    assert {(each["unit"], each["credits"], each["usdc"]) for each in rows} == {
        ("usdc", "0", "0.0828"), ("usdc", "0", "0.006062"), ("credits", "3", None),
    }  # fmt: skip
    assert [each["payment"] is None for each in rows] == [each["unit"] == "credits" for each in rows]
    assert "0.0828 USDC" in shown(entry_table(rows))
    assert "USDC" not in shown(entry_table([each for each in rows if each["unit"] == "credits"]))
    header, first, *_ = entries_csv(rows)
    assert header.endswith("credits,usd,usd_per_credit,actor,usdc,unit\r\n")
    assert first.endswith(",0.0828,usdc\r\n")
    keyless = settings.model_copy(update={"evm_private_key": None})
    document = bookkeeping.ledger_sums(keyless, "model")
    assert document["total"]["credits"]["reserved"] == "3"
    assert document["total"]["usdc"]["reserved"] == "0.076738"
    assert "3 credits, 0.076738 USDC" in shown(sums_table(document))
    assert next(iter(sums_csv(document))).endswith("lost_usd,reserved_usdc,in_doubt_usdc,spent_usdc,lost_usdc\r\n")
    ours = bookkeeping.ledger_sums(settings, "model")  # the wallet's accounts only
    assert ours["total"]["credits"]["reserved"] == "0"


def test_payments_are_checked_against_the_books(database: Database) -> None:
    scope = usdc_batch(database, jobs=3)
    accepted, open_one = pay(database, scope), pay(database, scope)
    assert rules(database) == set()
    accept(database, accepted)
    assert rules(database) == set()
    finish(database, accepted)
    with database.begin() as connection:
        sending.record_unknown(connection, open_one.id, open_one.token, {})
    assert rules(database) == rules(database, BATCH) == set()


@pytest.mark.parametrize(
    ("forgery", "rule"),
    [
        ("UPDATE payment SET amount = amount + 1 WHERE state = 'settled'", "payment-amount"),
        ("UPDATE payment SET amount = amount + 1 WHERE state = 'signed'", "payment-amount"),
        ("UPDATE payment SET state = 'void', signed = NULL WHERE state = 'signed'", "payment-amount"),
        ("UPDATE payment SET state = 'signed' WHERE state = 'settled'", "payment-out"),
        ("UPDATE payment SET account_pk = (SELECT min(pk) FROM account WHERE unit = 'credits')", "payment-misfiled"),
        ("DELETE FROM payment WHERE state = 'signed'", "payment-missing"),
        (
            "ALTER TABLE payment DROP CONSTRAINT signature_removed; UPDATE payment SET signed = 'x'",
            "payment-signature",
        ),
    ],
)
def test_every_forgery_of_a_payment_is_found(database: Database, forgery: str, rule: str) -> None:
    make_batch(database, "things-1")
    scope = usdc_batch(database, jobs=2)
    accepted = pay(database, scope)
    accept(database, accepted)
    pay(database, scope)
    with database.begin() as connection:
        for statement in forgery.split("; "):
            connection.execute(text(statement))
        found = audit(connection)
    assert rule in {finding.rule for finding in found}
    assert all("USDC" in finding.message and finding.batch == BATCH for finding in found)


def test_a_month_of_direct_payments_tells_fees_and_has_no_balance(database: Database) -> None:
    scope = usdc_batch(database, jobs=1)
    work = pay(database, scope)
    accept(database, work)
    finish(database, work)
    with database.begin() as connection:
        month = statements.statement(connection, scope.account_pk, datetime.now(UTC).date().replace(day=1))
    assert (month.opening, month.closing, month.unexplained) == (None, None, None)
    assert month.moved.usdc[Book.SPENT] == QUOTE
    assert month.fees == QUOTE - WORK
    document = bookkeeping._statement_document(month)
    assert document["settlement_fees"] == {"credits": None, "usdc": "0.003938"}
    text_ = shown(*statement_lines("2026-11", document))
    assert "in USDC" in text_
    assert "0.003938 of it beyond the work" in text_
    assert "credits" not in text_


def test_a_wallets_month_counts_its_settled_top_ups(database: Database) -> None:
    account_pk = usdc_account(database, Payment.WALLET_BASE)

    def at(day: int) -> datetime:
        return datetime(2026, 11, day, tzinfo=UTC)

    with database.begin() as connection:
        for day, balance in ((1, "1"), (20, "6")):
            connection.execute(
                insert(readings).values(account_pk=account_pk, at=at(day), credits=Decimal(balance), quiet=True)
            )
        for day, state in ((5, "settled"), (6, "void"), (25, "settled")):
            connection.execute(
                insert(payments).values(
                    id=uuid4(), account_pk=account_pk, state=state, network="base", payer=PAYER, pay_to="x", asset="y",
                    amount=Decimal("5.01"), credited=Decimal(5), nonce=str(day), created_at=at(day), ended_at=at(day),
                )
            )  # fmt: skip
        month = statements.statement(connection, account_pk, date(2026, 11, 1))
    assert (month.opening, month.closing, month.after, month.unexplained) == (1, 11, -5, 0)
    document = bookkeeping._statement_document(month)
    assert document["top_ups"]["usdc"] == "10"
    assert document["top_ups"]["source"] == "settled payments"
    assert document["provider_balance"]["usdc"] == "6"


def test_caps_and_budgets_are_in_usdc(database: Database, settings: Settings) -> None:
    usdc_batch(database, jobs=2)
    document = budgeting.set_budget(settings, {"daily": Limit(Decimal("0.1"), "usdc")}, Payment.X402_BASE)
    assert (document["daily"]["cap"], document["daily"]["unit"]) == ("0.1", "usdc")
    with pytest.raises(UsageError, match="no cap in credits"):
        budgeting.set_budget(settings, {"daily": Limit(Decimal(5), "credits")}, Payment.X402_BASE)
    with pytest.raises(UsageError, match="whose caps"):
        budgeting.budget(settings)
    told = budgeting.set_batch_budget(BATCH, settings, Limit(Decimal(14), "credits"))
    assert told["budget"] == {"credits": "0", "usd": "0.0728", "usdc": "0.0728"}
    assert claim(database, usdc_batch(database, "paid-2", jobs=1)) != []
    assert claim(database, usdc_batch(database, "paid-3", jobs=1)) == []
    held = row(database, holds, batch_id="paid-3")
    assert held.message == "job job-0 needs 0.0828 USDC, 0.0656 more than the daily cap of 0.1 USDC has left"
    assert held.command == "orchestrator budget set --daily 0.1656usdc --payment x402-base"


def test_a_budget_that_is_reached_names_usdc(database: Database, settings: Settings) -> None:
    scope = usdc_batch(database, jobs=2)
    budgeting.set_batch_budget(BATCH, settings, Limit(Decimal("0.1"), "usd"))
    assert len(claim(database, scope)) == 1
    held = row(database, holds, batch_id=BATCH)
    assert held.message == "job job-1 needs 0.0828 USDC, 0.0656 more than the budget of 0.1 has left"
    assert held.command == f"orchestrator budget set --batch {BATCH} --usd 0.1656"
    with pytest.raises(UsageError, match=r"0\.0828 USDC of paid-"):
        budgeting.set_batch_budget(BATCH, settings, Limit(Decimal("0.01"), "usd"))


def test_nobody_calls_a_payment_not_charged_that_may_still_settle(database: Database, settings: Settings) -> None:
    work = pay(database, usdc_batch(database, jobs=1))
    with database.begin() as connection:
        sending.record_unknown(connection, work.id, work.token, {})
        assert (paid.payment_of(connection, work.id) or {})["state"] == "signed"
        assert batches.find_batch(connection, BATCH) == BATCH
    told: list[dict[str, object]] = []
    with pytest.raises(UsageError, match="may still settle"):
        resolving.resolve(BATCH, "job-0", settings, "not-charged", show_evidence=told.append)
    assert (told[0]["unit"], told[0]["usdc"]) == ("usdc", "0.076738")
