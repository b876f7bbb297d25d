"""What was tried for a job is told with it: when, what came of it, why, and what it cost."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console
from sqlalchemy import text

from orchestrator.cli.jobs_view import job_tables
from orchestrator.sandbox import FaultRule, Sandbox
from orchestrator.store import history
from orchestrator.store.database import Database
from orchestrator.store.leases import rescue

from .engine_site import Site, make_site
from .store_rows import claim


@pytest.fixture
def site(tmp_path: Path, database: Database, database_url: str) -> Iterator[Site]:
    with Sandbox(tmp_path / "sandbox", time_scale=0.02) as running:
        yield make_site(tmp_path, running, database, database_url)


async def test_every_try_is_told_with_its_reason_and_cost(site: Site) -> None:
    scope = site.make_batch(["A thing", "[sandbox:fail]"])
    site.play(FaultRule(at="submit", kind="429", retry_after=0, match="A thing"))
    await site.run(scope)
    told = {name: job["history"] for name, job in site.jobs().items()}
    again, failed = told["job-0"], told["job-1"]
    assert [(one["outcome"], one["credits"]) for one in again] == [("refused", "0"), ("resolved", "3")]
    assert "429" in again[0]["reason"]
    assert (again[0]["request_id"], again[1]["request_id"]) == (None, site.jobs()["job-0"]["request_id"])
    assert again[0]["attempt_at"] <= again[1]["attempt_at"]
    assert again[0]["attempt_at"].endswith("Z")
    assert [(one["outcome"], one["credits"]) for one in failed] == [("resolved", "0")], "it was refunded"
    assert site.jobs()["job-0"]["attempts"] == 1, "what was refused is no attempt"


async def test_what_is_open_has_no_cost_yet_and_a_free_job_has_a_history(site: Site) -> None:
    scope = site.make_batch(2)
    with site.database.begin() as connection:
        connection.execute(text("UPDATE job SET estimate = 0 WHERE ordinal = 1"))
    claim(site.database, scope)
    for job in site.jobs().values():
        [one] = job["history"]
        assert (one["outcome"], one["credits"], one["reason"]) == ("intended", None, None)


async def test_a_job_that_was_sent_back_says_why_and_its_history_is_bounded(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "NEWEST", 3)
    scope = site.make_batch(1)
    for _ in range(5):
        assert claim(site.database, scope, owner=1)
        with site.database.begin() as connection:
            rescue(connection)
    [job] = site.jobs().values()
    assert (job["state"], len(job["history"])) == ("pending", 3)
    console = Console(width=160)
    with console.capture() as capture:
        console.print(*job_tables([job]))
    assert "sent back: the worker died" in capture.get()
