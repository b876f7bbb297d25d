"""`retry` against a real sandbox: what runs again, at which price, within which limits, and what is refused."""

import asyncio
import json
from collections.abc import Iterator
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import insert, select, text, update

from orchestrator.base.errors import SpendRefused, Unusable, UsageError
from orchestrator.base.states import SettledBy
from orchestrator.operations.quoting import SpendQuote
from orchestrator.operations.retrying import retry
from orchestrator.operations.steering import cancel
from orchestrator.receipts.book import all_books
from orchestrator.sandbox import FaultRule, Sandbox
from orchestrator.store import resolving, retrying, settling
from orchestrator.store.audit import audit
from orchestrator.store.database import Connection, Database
from orchestrator.store.tables import accounts, assets, batches, jobs, submissions

from .engine_site import BATCH, Site, make_site
from .store_rows import force_jobs

REFUSED = "A thing of a shape that there is not"
FAILING = "A thing that fails [sandbox:fail]"


@pytest.fixture
def site(tmp_path: Path, database: Database, database_url: str) -> Iterator[Site]:
    with Sandbox(tmp_path / "sandbox", time_scale=0.0) as sandbox:
        yield make_site(tmp_path, sandbox, database, database_url)


def ended(site: Site, prompts: list[str], *rules: FaultRule, budget: int | None = None) -> dict[str, Any]:
    """A batch of these prompts that was worked to its end."""
    scope = site.make_batch(prompts, budget=budget)
    with site.database.begin() as connection:
        shape = text("""jsonb_set(item, '{aspect_ratio}', '"7:3"')""")
        connection.execute(update(jobs).where(jobs.c.item["prompt"].astext.startswith(REFUSED)).values(item=shape))
    site.play(*rules)
    return asyncio.run(site.run(scope))


def mend(site: Site) -> None:
    """What failed would work now."""
    with site.database.begin() as connection:
        item = text(
            """item || jsonb_build_object('prompt', 'A thing that works #' || ordinal, 'aspect_ratio', '1:1')"""
        )
        connection.execute(update(jobs).values(item=item))


def again(site: Site, **options: Any) -> dict[str, Any]:
    return retry(BATCH, site.settings, confirm=lambda _: True, **options)


def quotes(site: Site, **options: Any) -> SpendQuote:
    """What `retry` would ask."""
    asked: list[SpendQuote] = []

    def no(quote: SpendQuote) -> bool:
        asked.append(quote)
        return False

    with pytest.raises(SpendRefused, match="not confirmed"):
        retry(BATCH, site.settings, confirm=no, **options)
    return asked[0]


def new_price(site: Site, credits_needed: str) -> None:
    bundled = files("orchestrator.catalog").joinpath("snapshot.json").read_text(encoding="utf-8")
    document = json.loads(bundled)
    document["models"]["gen"]["credits"] = credits_needed
    site.settings.home.mkdir(exist_ok=True)
    (site.settings.home / "catalog.json").write_text(json.dumps(document))


def balanced(site: Site) -> bool:
    with site.database.begin() as connection:
        return not audit(connection)


def test_what_failed_runs_again_and_the_batch_ends_anew(site: Site) -> None:
    document = ended(site, ["A thing", FAILING, REFUSED])
    assert (document["state"], document["jobs"]["failed"], document["jobs"]["rejected"]) == ("partial_failure", 1, 1)
    assert quotes(site) == SpendQuote(BATCH, 2, Decimal(6), Decimal(0), Decimal("0.0052"))
    assert site.document() == document, "a no changes nothing"
    mend(site)
    retried = again(site)
    assert (retried["state"], retried["jobs"]["completed"]) == ("completed", 3)
    assert retried["finished_at"] is not None
    assert [job["attempts"] for job in site.jobs().values()] == [1, 2, 2]
    assert [job["error"] for job in site.jobs().values()] == [None] * 3
    assert (balanced(site), len(json.loads((site.out / "things" / "index.json").read_text())["assets"])) == (True, 3)


def test_only_one_job_or_one_error(site: Site) -> None:
    ended(site, [FAILING, REFUSED, FAILING])
    assert quotes(site, error="provider-failed").jobs == 2
    assert quotes(site, job="job-1").jobs == 1
    assert quotes(site, job="job-1", error="rejected-input").jobs == 1
    document = again(site, job="job-0")
    assert (document["state"], [job["attempts"] for job in site.jobs().values()]) == ("failed", [2, 1, 1])


def test_a_new_price_is_told_reserved_and_charged_against_it(site: Site) -> None:
    ended(site, [FAILING])
    new_price(site, "3.5")
    quote = quotes(site)
    assert quote.credits == Decimal("3.5")
    assert quote.notes == ("gen costs 3.5 credits now, 3 when it was planned (1 of the jobs)",)
    mend(site)
    again(site)
    with site.database.begin() as connection:
        assert connection.execute(select(jobs.c.price, jobs.c.estimate)).one() == (Decimal("3.5"), 3)
        reserved = connection.execute(select(submissions.c.reserved).order_by(submissions.c.created_at)).scalars()
        assert list(reserved) == [3, Decimal("3.5")]
    assert balanced(site)


def test_a_price_that_a_charge_has_taught_is_kept(site: Site) -> None:
    ended(site, [FAILING])
    with site.database.begin() as connection:
        connection.execute(update(jobs).values(price=Decimal("4.5")))
    assert quotes(site).credits == Decimal("4.5")


def test_a_model_that_is_gone_is_told(site: Site) -> None:
    ended(site, [FAILING])
    with site.database.begin() as connection:
        connection.execute(update(jobs).values(model="gone"))
    with pytest.raises(UsageError, match="job job-0 cannot be run again: there is no model gone any more"):
        again(site)


def test_the_budget_and_the_caps_are_checked_before_anything_changes(site: Site) -> None:
    before = ended(site, ["A thing", FAILING, FAILING], budget=9)
    spent = Decimal(before["credits"]["spent"])
    with site.database.begin() as connection:
        connection.execute(update(batches).values(budget=spent + 5))
    with pytest.raises(SpendRefused, match="6 credits, 1 more than the budget") as caught:
        again(site)
    assert caught.value.hint == f"raise it: orchestrator budget set --batch {BATCH} --credits {spent + 6:f}"
    with site.database.begin() as connection:
        connection.execute(update(batches).values(budget=None))
        connection.execute(update(accounts).values(daily_cap=spent + 5, daily_unit="credits"))
    with pytest.raises(SpendRefused, match="the daily cap"):
        again(site)
    assert site.document()["state"] == "partial_failure"
    assert again(site, job="job-1")["state"] == "partial_failure"


def test_a_lost_payment_is_bought_again_only_when_asked_for(site: Site) -> None:
    ended(site, ["A thing", FAILING], FaultRule(at="submit", kind="drop-after-charge", match="A thing #0"))
    with site.database.begin() as connection:
        doubtful = connection.execute(select(submissions.c.id).where(submissions.c.state == "unknown")).scalar_one()
        resolving.settle_as_charged(connection, UUID(str(doubtful)), SettledBy.WRITE_OFF, {})
        settling.settle_batch(connection, BATCH)
    quote = quotes(site)
    assert (quote.jobs, quote.notes) == (1, ("left out: 1 whose payment was lost; --again buys them again",))
    for options in ({"job": "job-0"}, {"error": "payment-lost"}):
        with pytest.raises(UsageError, match="payment was lost") as caught:
            again(site, **options)
        assert "--again" in str(caught.value.hint)
    document = again(site, job="job-0", again=True)
    assert (site.jobs()["job-0"]["state"], site.jobs()["job-0"]["credits"]["spent"]) == ("completed", "6")
    assert (document["credits"]["lost"], balanced(site)) == ("3", True)


def test_what_was_charged_and_gave_no_file_is_told_before_it_is_paid_for_again(site: Site) -> None:
    ended(site, ["A thing", FAILING, FAILING])
    charged = {"code": "request-lost", "message": "", "charged": True, "provider": None}
    with site.database.begin() as connection:
        connection.execute(update(jobs).where(jobs.c.name != "job-0").values(error=charged, spent=3))
    quote = quotes(site)
    assert (quote.jobs, quote.charged_jobs, quote.charged_credits) == (2, 2, 6)
    assert quotes(site, job="job-1").charged_jobs == 1


def test_stored_files_that_are_bought_again_are_told_before(site: Site) -> None:
    ended(site, ["A thing", FAILING])
    with site.database.begin() as connection:
        failed = select(jobs.c.pk).where(jobs.c.name == "job-1").scalar_subquery()
        copied = [column for column in assets.c if column.name not in ("pk", "job_pk")]
        stored = select(failed, *copied).where(assets.c.role == "original")
        connection.execute(insert(assets).from_select(["job_pk", *(column.name for column in copied)], stored))
    assert quotes(site).notes == ("bought again, too: 1 stored file(s) of jobs that failed for another one",)
    mend(site)
    again(site)
    assert [(job["state"], len(job["assets"])) for job in site.jobs().values()] == [("completed", 1)] * 2


def test_nothing_changes_while_the_database_is_behind_its_receipts(site: Site) -> None:
    """It was put back: another job of the batch may have been bought since."""
    before = ended(site, ["A thing", FAILING])
    (book,) = all_books(site.settings.home)
    receipt = next(slip for slip in book.newest(9)).receipt()
    unknown = receipt.order.model_copy(update={"submission_id": uuid4()})
    book.write(receipt.model_copy(update={"request_id": str(uuid4()), "order": unknown}))
    with pytest.raises(Unusable, match="behind its receipts"):
        again(site)
    assert site.document() == before


def test_what_runs_is_done_or_in_doubt_is_refused(site: Site) -> None:
    ended(site, ["A thing", "A doubt"], FaultRule(at="submit", kind="drop-before-charge", match="A doubt"))
    for job, said in (
        ("job-0", "is completed"),
        ("job-1", "is in doubt"),
        ("nowhere", "has no job 'nowhere'"),
        (None, "nothing to retry"),
    ):
        with pytest.raises(UsageError, match=said):
            again(site, job=job)
    with pytest.raises(UsageError, match=r"nothing to retry: no job of .* has failed with moderation"):
        again(site, error="moderation")
    with site.database.begin() as connection:
        connection.execute(update(jobs).where(jobs.c.name == "job-1").values(state="generating"))
    with pytest.raises(UsageError, match="is generating: only what has failed is run again"):
        again(site, job="job-1")


def test_another_error_and_a_cancelled_batch_are_refused(site: Site) -> None:
    ended(site, [FAILING, "A doubt"], FaultRule(at="submit", kind="drop-before-charge", match="A doubt"))
    with pytest.raises(UsageError, match="has the error provider-failed, not moderation"):
        again(site, job="job-0", error="moderation")
    cancel(BATCH, site.settings)
    with pytest.raises(UsageError, match="was cancelled"):
        again(site, job="job-0")


def test_two_retries_at_once_buy_once(site: Site) -> None:
    ended(site, [FAILING])
    with site.database.begin() as connection:
        (pk,) = connection.execute(select(jobs.c.pk)).scalars()
        retrying.put_back(connection, BATCH, {pk: Decimal(3)})
        with pytest.raises(UsageError, match="have changed meanwhile"):
            retrying.put_back(connection, BATCH, {pk: Decimal(3)})


def test_a_copy_that_was_lost_is_made_anew(site: Site) -> None:
    """The files it had are forgotten: the new request has its own."""
    ended(site, ["A thing"])
    with site.database.begin() as connection:
        paid = connection.execute(select(jobs.c.submission_id)).scalar_one()
        force_jobs(connection, BATCH, ["failed"], paid)
        force_batch(connection, "failed")
    assert again(site)["state"] == "completed"
    with site.database.begin() as connection:
        assert len(connection.execute(select(assets).where(assets.c.role == "original")).all()) == 1


def force_batch(connection: Connection, state: str) -> None:
    """Past the trigger that guards transitions."""
    connection.execute(text("ALTER TABLE batch DISABLE TRIGGER batch_transition"))
    connection.execute(update(batches).values(state=state))
    connection.execute(text("ALTER TABLE batch ENABLE TRIGGER batch_transition"))
