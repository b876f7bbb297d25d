"""Every fault of the provider, one at a time: what becomes of the jobs, and that the money is right to the credit."""

import time
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import text

from orchestrator.engine import policy
from orchestrator.katana import line
from orchestrator.operations.running import exit_code
from orchestrator.sandbox import FaultRule, Sandbox, intake
from orchestrator.store.database import Database
from orchestrator.store.due import next_due
from orchestrator.store.tables import jobs, submissions

from .engine_site import BATCH, PRICE, Site, make_site
from .store_rows import put_submission, row


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    with Sandbox(tmp_path / "sandbox", time_scale=0.02) as running:
        yield running


@pytest.fixture
def site(tmp_path: Path, sandbox: Sandbox, database: Database, database_url: str) -> Site:
    return make_site(tmp_path, sandbox, database, database_url, stall_after=0.5, request_lost_after=2.0)


@pytest.fixture(autouse=True)
def polled_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a poll that did not work, the first wait is a tenth of what it is: it doubles from there."""
    quicker = [replace(rule, first_seconds=rule.first_seconds / 10) for rule in policy.POLLS]
    monkeypatch.setattr(policy, "POLLS", tuple(quicker))


def rule(at: Any, kind: str, **more: Any) -> FaultRule:
    return FaultRule(at=at, kind=kind, **more)


async def test_without_faults_all_is_stored_and_paid_once(site: Site) -> None:
    document = await site.run(site.make_batch(6))
    assert (document["state"], exit_code(document), document["credits"]["spent"]) == ("completed", 0, "18")
    assert document["finished_at"]
    assert (site.out / "things" / "index.json").exists()
    site.audit()


@pytest.mark.parametrize(
    "fault",
    [
        rule("submit", "429", retry_after=0.2),
        rule("submit", "429", retry_after=0, times=5),
        rule("submit", "429", retry_after="http-date", seconds=1),
        rule("submit", "429", retry_after="absent"),
        rule("submit", "slow", seconds=0.4),
        rule("poll", "429", retry_after=0.2, times=2),
        rule("poll", "500", times=3),
        rule("poll", "drop", times=3),
        rule("poll", "slow", seconds=0.4, times=2),
        rule("poll", "404", times=2),
        rule("poll", "unknown-status", times=3),
        rule("poll", "missing-responses", times=3),
        rule("poll", "no-assets", times=2, skip=6),
        rule("poll", "no-original", times=None),
        *(
            rule("asset", kind, times=2, match="original", seconds=0.2)
            for kind in (
                "403", "404", "500", "corrupt", "empty", "expired", "html", "slow", "truncated", "truncated-no-length",
            )
        ),
        rule("asset", "404", times=None, match="thumbnail"),
    ],
    ids=lambda fault: f"{fault.at}-{fault.kind}-{fault.retry_after if fault.kind == '429' else fault.times}",
)  # fmt: skip
async def test_what_passes_is_waited_out(site: Site, fault: FaultRule) -> None:
    site.settings = site.settings.model_copy(update={"request_lost_after": 30.0})  # whatever a busy machine takes
    scope = site.make_batch()
    site.play(fault)
    document = await site.run(scope)
    assert (document["state"], document["holds"], document["credits"]["spent"]) == ("completed", [], "12")
    assert [job["attempts"] for job in site.jobs().values()] == [1] * 4
    site.audit()


@pytest.mark.parametrize(
    ("kind", "charges"),
    [
        ("500-before-charge", 3),
        ("500-after-charge", 4),
        ("502-html", 3),
        ("502-html-after-charge", 4),
        ("drop-before-charge", 3),
        ("drop-after-charge", 4),
        ("garbage", 4),
    ],
)
async def test_a_lost_answer_leaves_its_job_in_doubt_and_no_other(site: Site, kind: str, charges: int) -> None:
    scope = site.make_batch()
    site.play(rule("submit", kind))
    document = await site.run(scope)
    assert (document["state"], exit_code(document)) == ("held", 5)
    assert [hold["code"] for hold in document["holds"]] == ["in-doubt"]
    assert sorted(site.states()) == ["completed"] * 3 + ["in_doubt"]
    assert (document["credits"]["spent"], document["credits"]["in_doubt"]) == ("9", "3")
    site.audit()
    again = await site.resume(scope)
    assert again["state"] == "held"
    assert len(site.sandbox.charges()) == charges, "resume sends nothing that is in doubt"
    site.audit()


async def test_an_answer_that_comes_too_late_leaves_its_job_in_doubt(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line, "PAY_DEADLINE_SECONDS", 0.3)
    scope = site.make_batch(2)
    site.play(rule("submit", "slow", seconds=2))
    document = await site.run(scope)
    assert sorted(site.states()) == ["completed", "in_doubt"]
    assert exit_code(document) == 5
    assert len(site.sandbox.charges()) == 2
    site.audit()


@pytest.mark.parametrize(
    ("fault", "code", "exit_with"),
    [
        (rule("submit", "401", times=None), "provider-refusing", 4),
        (rule("submit", "403", times=None), "provider-refusing", 4),
        (rule("submit", "402", times=None), "balance-low", 3),
        (rule("poll", "401", times=None), "provider-refusing", 4),
    ],
)
async def test_a_refusal_of_the_account_holds_the_batch_until_it_is_resumed(
    site: Site, fault: FaultRule, code: str, exit_with: int
) -> None:
    scope = site.make_batch()
    site.play(fault)
    document = await site.run(scope)
    assert (document["state"], exit_code(document)) == ("held", exit_with)
    assert [hold["code"] for hold in document["holds"]] == [code]
    assert "failed" not in site.states()
    if fault.at == "submit":
        assert site.states() == ["pending"] * 4
        assert site.sandbox.charges() == []
    site.audit()
    site.play()
    resumed = await site.resume(scope)
    assert (resumed["state"], resumed["holds"]) == ("completed", [])
    site.audit()


async def test_an_absurd_wish_to_wait_is_bounded(site: Site) -> None:
    scope = site.make_batch(1)
    site.play(rule("submit", "429", retry_after="absurd", times=None))
    with pytest.raises(TimeoutError):
        await site.run(scope, seconds=1)
    with site.database.begin() as connection:
        wait = next_due(connection, scope, max_in_flight=64).submit
    assert wait is not None
    assert 250 < wait <= 300
    assert site.states() == ["pending"]


@pytest.mark.parametrize(
    ("prompt", "code"), [("[sandbox:fail]", "provider-failed"), ("[sandbox:moderation]", "moderation")]
)
async def test_a_job_that_fails_at_the_provider_is_refunded(site: Site, prompt: str, code: str) -> None:
    document = await site.run(site.make_batch(["A thing", prompt]))
    failed = site.jobs()["job-1"]
    assert (failed["state"], failed["error"]["code"], failed["credits"]["spent"]) == ("failed", code, "0")
    assert (document["state"], exit_code(document)) == ("partial_failure", 1)
    site.audit()


async def test_a_job_that_the_provider_rejects_is_not_charged(site: Site) -> None:
    document = await site.run(site.make_batch(2, aspect_ratio="7:3"))
    assert {(job["state"], job["error"]["code"], job["error"]["charged"]) for job in site.jobs().values()} == {
        ("rejected", "rejected-input", False)
    }
    assert (document["state"], exit_code(document), document["credits"]["spent"]) == ("failed", 1, "0")
    site.audit()


async def test_a_request_that_is_never_found_is_lost_and_its_cost_is_kept(site: Site) -> None:
    scope = site.make_batch(2)
    site.play(rule("poll", "404", times=None))
    document = await site.run(scope)
    assert (document["state"], document["credits"]["spent"]) == ("failed", "6")
    for job in site.jobs().values():
        assert (job["error"]["code"], job["error"]["charged"]) == ("request-lost", True)
    assert len(site.sandbox.charges()) == 2


async def test_completed_without_a_file_for_too_long_is_failed(site: Site) -> None:
    scope = site.make_batch(2)
    site.play(rule("poll", "no-assets", times=None))
    document = await site.run(scope)
    assert (document["state"], document["credits"]["spent"]) == ("failed", "6")
    assert {job["error"]["charged"] for job in site.jobs().values()} == {True}
    site.audit()


async def test_slow_work_does_not_use_up_the_patience_with_an_empty_answer(
    tmp_path: Path, database: Database, database_url: str
) -> None:
    """A job that takes longer than `request_lost_after` is not given up at its first answer without a file."""
    with Sandbox(tmp_path / "slow", time_scale=0.2) as slow:
        site = make_site(tmp_path, slow, database, database_url, request_lost_after=0.6)
        scope = site.make_batch(1)
        site.play(rule("poll", "no-assets", times=None))
        started_at = time.time()
        await site.run(scope)
        [job] = slow._serving.provider.book.requests()[0].jobs
        assert job.finished_at - started_at > 0.6, "it took longer than the patience"
        assert row(database, jobs).ended_at.timestamp() - job.finished_at >= 0.6
        site.audit()


async def test_a_file_that_is_never_whole_is_given_up(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.engine.copy.LONGEST_COPY_RETRY_SECONDS", 0.01)
    scope = site.make_batch(1)
    site.play(rule("asset", "corrupt", times=None))
    document = await site.run(scope)
    [job] = site.jobs().values()
    assert (document["state"], job["error"]["code"], job["credits"]["spent"]) == ("failed", "asset-corrupt", "3")
    site.audit()


async def test_an_outage_of_the_source_does_not_count_as_a_broken_file(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.engine.copy.LONGEST_COPY_RETRY_SECONDS", 0.01)
    scope = site.make_batch(1)
    site.play(rule("asset", "500", times=8), rule("asset", "truncated-no-length", times=5))
    assert (await site.run(scope))["state"] == "completed"
    site.audit()


async def test_a_source_that_expired_is_a_loss_that_is_told(
    tmp_path: Path, database: Database, database_url: str
) -> None:
    with Sandbox(tmp_path / "brief", time_scale=0.02, asset_lifetime_seconds=0) as brief:
        site = make_site(tmp_path, brief, database, database_url)
        document = await site.run(site.make_batch(2))
        assert (document["state"], document["credits"]["spent"]) == ("failed", "6")
        assert {job["error"]["code"] for job in site.jobs().values()} == {"asset-expired"}
        site.audit()


async def test_a_bundle_fails_item_by_item(site: Site) -> None:
    scope = site.make_batch(6, bundle=3)
    site.play(rule("submit", "partial-failure", times=1))
    document = await site.run(scope)
    assert sorted(site.states()) == ["completed"] * 5 + ["failed"]
    assert (document["state"], document["credits"]["spent"]) == ("partial_failure", "15")
    site.audit()


async def test_a_lost_answer_to_a_bundle_leaves_all_of_it_in_doubt(site: Site) -> None:
    scope = site.make_batch(6, bundle=3)
    site.play(rule("submit", "drop-after-charge"))
    document = await site.run(scope)
    assert sorted(site.states()) == ["completed"] * 3 + ["in_doubt"] * 3
    assert document["credits"]["in_doubt"] == "9"
    site.audit()


async def test_funds_that_run_out_hold_the_batch_and_refunds_finish_it(
    tmp_path: Path, database: Database, database_url: str
) -> None:
    with Sandbox(tmp_path / "poor", time_scale=0.2, balance=2 * PRICE) as poor:
        site = make_site(tmp_path, poor, database, database_url)
        scope = site.make_batch(["[sandbox:fail]", "[sandbox:fail]", "A thing"])
        document = await site.run(scope)
        assert (document["state"], exit_code(document)) == ("held", 3)
        assert [hold["code"] for hold in document["holds"]] == ["balance-low"]
        assert site.states().count("pending") == 1
        site.audit()
        assert (await site.resume(scope))["state"] != "held"
        assert site.states().count("pending") == 0
        site.audit()


async def test_a_budget_is_never_passed_and_failures_give_it_back(site: Site) -> None:
    scope = site.make_batch(["[sandbox:fail]", "A thing", "A thing", "A thing"], budget=7)
    document = await site.run(scope)
    assert (document["state"], exit_code(document)) == ("held", 3)
    assert [hold["code"] for hold in document["holds"]] == ["budget-reached"]
    assert site.states() == ["failed", "completed", "pending", "pending"]
    document = await site.resume(scope)
    assert site.states() == ["failed", "completed", "completed", "pending"]
    assert document["state"] == "held"
    assert sum((entry.credits for entry in site.sandbox.charges()), Decimal(0)) == 9
    assert document["credits"]["spent"] == "6"
    site.audit()


async def test_no_more_jobs_are_at_the_provider_than_allowed(
    tmp_path: Path, sandbox: Sandbox, database: Database, database_url: str
) -> None:
    site = make_site(tmp_path, sandbox, database, database_url, max_in_flight=3)
    assert (await site.run(site.make_batch(12)))["state"] == "completed"
    stats = site.asked("stats")
    assert 1 < stats["max_in_flight"] <= 3
    assert stats["posts"] == 12
    site.audit()


async def test_the_submission_keeps_what_was_sent(site: Site) -> None:
    await site.run(site.make_batch(1))
    [post] = site.asked("ledger")["posts"]
    assert row(site.database, submissions).body_sha256 == post["body_sha256"]


async def test_answers_that_name_known_requests_count_as_doubt(
    tmp_path: Path, sandbox: Sandbox, database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was sent is in doubt then, and too much of it stops the sending: more than a tenth of 20 jobs."""
    site = make_site(tmp_path, sandbox, database, database_url, max_in_flight=4)
    scope = site.make_batch(20)
    ids = (f"known-{number}" for number in count())
    monkeypatch.setattr(intake, "uuid", SimpleNamespace(uuid4=lambda: next(ids)))
    with database.begin() as connection:
        for number in range(40):
            known: dict[str, Any] = {"request_id": f"known-{number}", "charged": 0, "settled_by": "provider"}
            put_submission(connection, BATCH, scope.account_pk, "resolved", ended_at=text("now()"), **known)
    site.play(rule("submit", "slow", seconds=1, skip=1, times=None))  # the first is noted before the others come
    document = await site.run(scope)
    assert (document["state"], exit_code(document)) == ("held", 5)
    doubtful = document["jobs"]["in_doubt"]
    assert 3 <= doubtful == 20 - document["jobs"]["pending"] == len(sandbox.charges())
    assert document["holds"][0]["message"].startswith(f"{doubtful} job(s) may have been paid for")
