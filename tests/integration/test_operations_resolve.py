"""`resolve` against a real sandbox: what a person says settles a whole submission, with its evidence and its books."""

import asyncio
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select

from orchestrator.base.errors import UsageError
from orchestrator.base.payments import Unit
from orchestrator.base.states import SettledBy
from orchestrator.operations.resolving import resolve
from orchestrator.operations.resuming import resume
from orchestrator.operations.steering import cancel
from orchestrator.receipts.book import all_books
from orchestrator.sandbox import FaultRule, Sandbox
from orchestrator.store import resolving
from orchestrator.store.audit import audit
from orchestrator.store.database import Database
from orchestrator.store.settling import settle_batch
from orchestrator.store.tables import submissions

from .engine_site import BATCH, Site, make_site

LOST = FaultRule(at="submit", kind="drop-after-charge")
UNHEARD = FaultRule(at="submit", kind="drop-before-charge")


@pytest.fixture
def site(tmp_path: Path, database: Database, database_url: str) -> Iterator[Site]:
    with Sandbox(tmp_path / "sandbox", time_scale=0.0) as sandbox:
        yield make_site(tmp_path, sandbox, database, database_url)


def submission(site: Site) -> Any:
    """The submission in doubt, or settled without the provider's word."""
    with site.database.begin() as connection:
        found = select(submissions).where(submissions.c.evidence.is_not(None) | (submissions.c.state == "unknown"))
        return connection.execute(found).one()


def balanced(site: Site) -> bool:
    with site.database.begin() as connection:
        return not audit(connection)


def in_state(site: Site) -> dict[str, list[str]]:
    states: dict[str, list[str]] = {}
    for name, job in site.jobs().items():
        states.setdefault(job["state"], []).append(name)
    return states


def doubtful(site: Site, fault: FaultRule, jobs: int = 1, bundle: int = 1) -> str:
    """A batch with one submission in doubt; the name of a job of it."""
    scope = site.make_batch(jobs, bundle=bundle)
    site.play(fault)
    document = asyncio.run(site.run(scope))
    assert document["state"] == "held"
    names = in_state(site)["in_doubt"]
    named = names[0] if len(names) == 1 else "ID"
    assert document["holds"][0]["command"] == f"orchestrator resolve {BATCH} --job {named} --as charged|not-charged"
    return names[0]


def test_charged_is_failed_and_lost(site: Site) -> None:
    job = doubtful(site, LOST, jobs=2)
    shown: list[dict[str, Any]] = []
    document = resolve(BATCH, job, site.settings, "charged", show_evidence=shown.append)
    assert (document["state"], document["holds"]) == ("partial_failure", [])
    assert (document["credits"]["spent"], document["credits"]["lost"]) == ("6", "3")
    assert site.jobs()[job]["error"] | {"message": ""} == {
        "code": "payment-lost", "message": "", "charged": True, "provider": None,
    }  # fmt: skip
    found = submission(site)
    assert (found.settled_by, found.charged) == (SettledBy.PERSON, 3)
    assert (found.evidence["by"], found.evidence["said"]) == (site.settings.actor, "charged")
    assert found.evidence["shown"] == shown[0]
    assert (shown[0]["jobs"], shown[0]["credits"], shown[0]["counted_as_charged"]) == ([job], "3", False)
    assert balanced(site)
    for said in ("charged", uuid4()):
        with pytest.raises(UsageError):
            resolve(BATCH, job, site.settings, said)  # type: ignore[arg-type]


def test_not_charged_is_sent_again_by_resume(site: Site) -> None:
    job = doubtful(site, UNHEARD)
    document = resolve(BATCH, job, site.settings, "not-charged")
    assert (document["state"], document["jobs"]["pending"], document["credits"]["in_doubt"]) == ("running", 1, "0")
    assert (submission(site).charged, balanced(site)) == (0, True)
    (resumed,) = resume(BATCH, site.settings, confirm=lambda _, unsent: unsent == {Unit.CREDITS: 3})
    assert (resumed["state"], site.jobs()[job]["attempts"]) == ("completed", 2)
    site.audit()


def test_a_request_id_that_was_found_is_polled(site: Site) -> None:
    job = doubtful(site, LOST)
    (request,) = site.asked("requests")["requests"]
    document = resolve(BATCH, job, site.settings, UUID(request["request_id"]))
    assert (document["state"], document["jobs"]["generating"]) == ("running", 1)
    assert balanced(site)
    (book,) = all_books(site.settings.home)
    assert [slip.request_id for slip in book.newest(9)] == [request["request_id"]]
    assert resume(BATCH, site.settings, confirm=lambda *_: False)[0]["state"] == "completed", "nothing is to be spent"
    assert submission(site).evidence["said"] == request["request_id"]
    site.audit()


def test_a_request_id_of_another_submission_is_refused(site: Site) -> None:
    job = doubtful(site, LOST, jobs=2)
    (done,) = in_state(site)["completed"]
    with pytest.raises(UsageError, match=f"that of job {done} of {BATCH}"):
        resolve(BATCH, job, site.settings, UUID(site.jobs()[done]["request_id"]))
    assert in_state(site)["in_doubt"] == [job]


def test_what_was_sent_together_is_settled_together(site: Site) -> None:
    job = doubtful(site, LOST, jobs=3, bundle=3)
    shown: list[dict[str, Any]] = []
    document = resolve(BATCH, job, site.settings, "charged", show_evidence=shown.append)
    assert (document["jobs"]["failed"], document["credits"]["lost"]) == (3, "9")
    assert (shown[0]["jobs"], shown[0]["credits"]) == (["job-0", "job-1", "job-2"], "9")
    assert balanced(site)


def test_what_was_written_off_can_still_be_found_not_charged(site: Site) -> None:
    job = doubtful(site, UNHEARD, jobs=2, bundle=2)
    with site.database.begin() as connection:
        resolving.settle_as_charged(connection, submission(site).id, SettledBy.WRITE_OFF, {"hours": 72})
        settle_batch(connection, BATCH)
    assert site.document()["state"] == "failed"
    shown: list[dict[str, Any]] = []
    document = resolve(BATCH, job, site.settings, "not-charged", show_evidence=shown.append)
    assert (shown[0]["counted_as_charged"], shown[0]["before"]) == (True, {"hours": 72})
    assert (document["state"], document["jobs"]["pending"], document["finished_at"]) == ("running", 2, None)
    assert (document["credits"]["spent"], document["credits"]["lost"]) == ("0", "0")
    assert (submission(site).settled_by, submission(site).charged, balanced(site)) == (SettledBy.PERSON, 0, True)
    assert resume(BATCH, site.settings, confirm=lambda *_: True)[0]["state"] == "completed"
    site.audit()


def test_nothing_of_a_cancelled_batch_is_sent_again(site: Site) -> None:
    job = doubtful(site, UNHEARD, jobs=2)
    assert cancel(BATCH, site.settings)["state"] == "held"
    document = resolve(BATCH, job, site.settings, "not-charged")
    assert (document["state"], document["jobs"]["cancelled"], document["holds"]) == ("cancelled", 1, [])


def test_a_loss_of_a_cancelled_batch_is_given_back(site: Site) -> None:
    job = doubtful(site, UNHEARD, jobs=2)
    cancel(BATCH, site.settings)
    assert resolve(BATCH, job, site.settings, "charged")["state"] == "cancelled"
    document = resolve(BATCH, job, site.settings, "not-charged")
    assert (document["state"], document["jobs"]["cancelled"], document["credits"]["lost"]) == ("cancelled", 1, "0")
    assert (balanced(site), Decimal(document["credits"]["spent"])) == (True, 3)


def test_only_what_is_in_doubt_is_settled(site: Site) -> None:
    doubtful(site, LOST, jobs=2)
    (done,) = in_state(site)["completed"]
    with pytest.raises(UsageError, match="is completed, not in doubt"):
        resolve(BATCH, done, site.settings, "charged")
    with pytest.raises(UsageError, match="has no job 'nowhere'"):
        resolve(BATCH, "nowhere", site.settings, "charged")
