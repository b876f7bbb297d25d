"""`resolve` against a real sandbox: what a person says settles a whole submission, with its evidence and its books."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import select, update

from orchestrator.base.errors import SpendRefused, UsageError
from orchestrator.base.payments import Unit
from orchestrator.base.states import SettledBy
from orchestrator.catalog.bundled import bundled_catalog
from orchestrator.engine import poll
from orchestrator.operations.asking import is_told
from orchestrator.operations.opening import open_engine
from orchestrator.operations.resolving import Outcome, resolve, resolve_all
from orchestrator.operations.resuming import resume
from orchestrator.operations.steering import cancel
from orchestrator.receipts.book import all_books
from orchestrator.sandbox import FaultRule, Sandbox
from orchestrator.store import accounts, resolving
from orchestrator.store.accounts import Scope
from orchestrator.store.audit import audit
from orchestrator.store.database import Database
from orchestrator.store.reads import batch_header
from orchestrator.store.sending import in_seconds
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
    (hold,) = document["holds"]
    assert hold["command"] == f"orchestrator resume {BATCH}", "first the balance may tell"
    assert hold["message"].endswith(f"too: orchestrator resolve {BATCH} --job {names[0]} --as charged|not-charged")
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
            resolve(BATCH, job, site.settings, said)


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


def test_a_request_id_that_the_provider_does_not_know_is_refused(site: Site) -> None:
    job = doubtful(site, LOST)
    with pytest.raises(UsageError, match="does not know the request"):
        resolve(BATCH, job, site.settings, uuid4())
    assert in_state(site) == {"in_doubt": [job]}


def test_a_request_that_is_surely_anothers_is_refused(site: Site) -> None:
    """It was made elsewhere, with the same key: only what it is for tells."""
    job = doubtful(site, LOST)
    item = {"type": "image", "model": "gen", "prompt": "Another thing", "aspect_ratio": "1:1", "output_format": "png"}
    site.play()
    headers = {"X-API-Key": "key", "X-API-Secret": "secret"}
    answer = httpx.post(
        f"{site.sandbox.base_url}/v1/generation-requests", json={"requests": [item]}, headers=headers
    ).json()
    with pytest.raises(UsageError, match="is another's: its prompt is 'Another thing'"):
        resolve(BATCH, job, site.settings, UUID(answer["request_id"]))
    assert in_state(site) == {"in_doubt": [job]}


@pytest.fixture
def mistaken(site: Site, caplog: pytest.LogCaptureFixture) -> str:
    """A job for which a person named a wrong request while the provider could not be asked."""
    job = doubtful(site, LOST)
    resolve(BATCH, job, site.settings.model_copy(update={"katana_api_key": None}), uuid4())
    assert "is taken as you say, unchecked" in caplog.text
    assert (in_state(site), list(receipts_of_acceptances(site))) == ({"generating": [job]}, [])
    return job


def receipts_of_acceptances(site: Site) -> Iterator[str | None]:
    for book in all_books(site.settings.home):
        yield from (slip.request_id for slip in book.newest(9) if slip.request_id)


async def poll_once(site: Site) -> None:
    """As a worker does while nobody has noticed."""
    with site.database.begin() as connection:
        account_pk = accounts.account_pk(connection, site.provider.origin, site.provider.account)
    async with open_engine(site.settings, site.database, site.provider, Scope(account_pk, (BATCH,))) as engine:
        for work in await poll.claim(engine, 9):
            await poll.ask(engine, work)


def test_a_wrong_request_id_can_be_corrected(site: Site, mistaken: str) -> None:
    asyncio.run(poll_once(site))
    (request,) = site.asked("requests")["requests"]
    document = resolve(BATCH, mistaken, site.settings, UUID(request["request_id"]))
    assert (document["state"], document["jobs"]["generating"], balanced(site)) == ("running", 1, True)
    assert list(receipts_of_acceptances(site)) == [request["request_id"]]
    assert resume(BATCH, site.settings, confirm=lambda *_: False)[0]["state"] == "completed"
    site.audit()


def test_a_wrong_request_id_can_be_taken_back_as_charged(site: Site, mistaken: str) -> None:
    asyncio.run(poll_once(site))
    document = resolve(BATCH, mistaken, site.settings, "charged")
    assert (document["state"], document["credits"]["lost"], document["credits"]["spent"]) == ("failed", "3", "3")
    assert (submission(site).settled_by, submission(site).request_id) == (SettledBy.PERSON, None)
    assert balanced(site)


def test_a_wrong_request_id_can_be_taken_back_as_not_charged(site: Site, mistaken: str) -> None:
    document = resolve(BATCH, mistaken, site.settings, "not-charged")
    assert (document["state"], document["jobs"]["pending"]) == ("running", 1)
    assert (document["credits"]["spent"], document["credits"]["lost"], balanced(site)) == ("0", "0", True)


def test_a_request_that_is_being_asked_about_is_left_alone(site: Site, mistaken: str) -> None:
    with site.database.begin() as connection:
        connection.execute(update(submissions).values(lease_token=uuid4(), lease_owner=1, lease_until=in_seconds(60)))
    with pytest.raises(UsageError, match="settled meanwhile"):
        resolve(BATCH, mistaken, site.settings, "charged")


def test_a_request_that_the_provider_told_of_is_not_taken_back(site: Site) -> None:
    job = doubtful(site, LOST)
    (request,) = site.asked("requests")["requests"]
    resolve(BATCH, job, site.settings, UUID(request["request_id"]))
    with pytest.raises(UsageError, match="is generating, not in doubt"):
        resolve(BATCH, job, site.settings, "not-charged")


def test_what_was_sent_together_is_settled_together(site: Site) -> None:
    job = doubtful(site, LOST, jobs=3, bundle=3)
    shown: list[dict[str, Any]] = []
    document = resolve(BATCH, job, site.settings, "charged", show_evidence=shown.append)
    assert (document["jobs"]["failed"], document["credits"]["lost"]) == (3, "9")
    assert (shown[0]["jobs"], shown[0]["credits"]) == (["job-0", "job-1", "job-2"], "9")
    assert balanced(site)


@pytest.mark.parametrize(("said", "state"), [("charged", "failed"), ("not-charged", "pending")])
def test_all_that_is_in_doubt_is_settled_at_once(site: Site, said: Outcome, state: str) -> None:
    scope = site.make_batch(5, bundle=2)
    site.play(FaultRule(at="submit", kind="drop-before-charge", times=None))
    asyncio.run(site.run(scope))
    assert len(in_state(site)["in_doubt"]) == 5
    shown: list[dict[str, Any]] = []
    with pytest.raises(SpendRefused, match="nothing was settled"):
        resolve_all(BATCH, site.settings, said, show_evidence=shown.append, confirm=lambda: False)
    assert sorted(job for each in shown for job in each["jobs"]) == [f"job-{number}" for number in range(5)]
    assert len(in_state(site)["in_doubt"]) == 5
    document = resolve_all(BATCH, site.settings, said, confirm=lambda: True)
    assert (document["jobs"][state], document["holds"], balanced(site)) == (5, [], True)
    with pytest.raises(UsageError, match=r"nothing of .* is in doubt"):
        resolve_all(BATCH, site.settings, said)


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


def test_a_sandbox_batch_asks_its_own_sandbox(site: Site) -> None:
    site.make_batch(1)
    with site.database.begin() as connection:
        header = replace(batch_header(connection, BATCH), sandbox=True)
    with pytest.raises(UsageError, match="does not know the request"):
        is_told(site.settings, header, bundled_catalog(), str(uuid4()), [{}])
