"""Decisions of a report's page are priced, carried out once, and change nothing the second time."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from orchestrator.base.errors import ManifestError, SpendRefused
from orchestrator.base.states import Decision
from orchestrator.operations import looking
from orchestrator.operations.resuming import resume
from orchestrator.operations.review_quoting import ReviewQuote
from orchestrator.operations.reviewing import apply_review, exit_code
from orchestrator.operations.submitting import SubmitOptions, submit
from orchestrator.sandbox import Sandbox
from orchestrator.store import reviews
from orchestrator.store.database import Database
from orchestrator.store.tables import jobs as store_jobs

from .engine_site import Site, make_site

SHARED = {"model": "gpt-image-2", "aspect_ratio": "1:1"}
CLIP = {"type": "video", "model": "seedance-2-0", "duration_seconds": 5, "aspect_ratio": "16:9", "prompt": "A turn"}
PICTURE, TURN = 14, 200


@pytest.fixture
def site(tmp_path: Path, database: Database, database_url: str) -> Iterator[Site]:
    with Sandbox(tmp_path / "sandbox", time_scale=0.0) as sandbox:
        yield make_site(tmp_path, sandbox, database, database_url, destination=str(tmp_path / "out"))


def run(site: Site, jobs: list[dict[str, Any]], **keys: Any) -> str:
    """Submit a batch; its id."""
    file = site.folder / "things.json"
    file.write_text(json.dumps({"version": 1, "name": "things", "jobs": jobs, **keys}))
    return str(submit(file, site.settings, SubmitOptions(), confirm=lambda _: True)["batch"])


def decisions(site: Site, batch: str, **words: str) -> Path:
    """A file of decisions about the results as they are."""
    hashes = {job["id"]: job["assets"][0]["sha256"] for job in site.jobs_of(batch) if job["assets"]}
    entries = [
        {
            "job": job,
            "asset_sha256": hashes.get(job),
            "decision": word,
            "note": "too dark" if word == "reject" else None,
        }
        for job, word in words.items()
    ]
    file = site.folder / "decisions.json"
    file.write_text(json.dumps({"version": 1, "batch": batch, "decisions": entries}))
    return file


def apply(site: Site, file: Path, *, price: int | None) -> dict[str, Any]:
    """Carry them out; `price` None: nothing is spent, so nothing is asked."""
    told: list[int] = []

    def confirm(quote: ReviewQuote) -> bool:
        told.append(int(quote.amount))
        return True

    document = apply_review(file, site.settings, confirm=confirm)
    assert told == ([] if price is None else [price])
    return document


def charges(site: Site) -> int:
    return sum(entry.kind == "charge" for entry in site.sandbox.ledger())


def indexed(site: Site) -> dict[str, str]:
    """The jobs of the index and the hashes of their files."""
    index = json.loads((site.out / "things" / "index.json").read_text())
    return {asset["job"]: asset["sha256"] for asset in index["assets"]}


def test_decisions_are_carried_out_once(site: Site) -> None:
    batch = run(site, [SHARED | {"id": name, "prompt": f"A {name}"} for name in ("mug", "cup", "pot")])
    before = indexed(site)
    file = decisions(site, batch, mug="accept", cup="reject", pot="take")
    document = apply(site, file, price=PICTURE)
    assert document["decisions"] == {"accepted": 1, "rejected": 1, "takes": 1, "unchanged": 0}
    (takes,) = document["take_batches"]
    assert (takes["name"], takes["jobs"]["total"], takes["state"], exit_code(document)) == ("things", 1, "completed", 0)
    after = indexed(site)
    assert after["mug"] == before["mug"]
    assert "cup" not in after
    assert after["pot"] != before["pot"]
    assert charges(site) == 4
    again = apply(site, file, price=None)
    assert again["decisions"]["unchanged"] == 3
    assert [each["batch"] for each in again["take_batches"]] == [takes["batch"]]
    assert (charges(site), indexed(site)) == (4, after)
    told = {job["id"]: job["review"] for job in site.jobs_of(batch)}
    assert {name: review["decision"] for name, review in told.items()} == {
        "mug": "accept",
        "cup": "reject",
        "pot": "take",
    }
    assert (told["cup"]["note"], told["cup"]["actor"]) == ("too dark", site.settings.actor)
    apply(site, decisions(site, batch, cup="accept", pot="take"), price=None)
    assert (charges(site), indexed(site)) == (4, before | {"pot": after["pot"]})


def test_what_is_rejected_stays_out_and_is_not_bought_again_by_itself(site: Site) -> None:
    jobs = [SHARED | {"id": name, "prompt": f"A {name}"} for name in ("mug", "cup")]
    apply(site, decisions(site, run(site, jobs), cup="reject"), price=None)
    frame = {"video_image_data": {"first_frame_image_url": {"from": "cup"}}}
    later = run(site, [*jobs, CLIP | {"id": "spin"} | frame])
    assert indexed(site).keys() == {"mug"}
    assert charges(site) == 2
    spin = site.jobs_of(later)[2]
    assert (spin["state"], "cup, whose result was rejected" in spin["error"]["message"]) == ("skipped", True)


def test_asking_for_another_take_of_what_was_rejected_does_not_take_the_rejection_back(site: Site) -> None:
    jobs = [SHARED | {"id": name, "prompt": f"A {name}"} for name in ("mug", "cup")]
    batch = run(site, jobs)
    apply(site, decisions(site, batch, cup="reject"), price=None)
    with site.database.begin() as connection:  # as a process leaves it that dies before it buys the take
        (cup,) = [job for job in reviews.reviewable_jobs(connection, batch) if job.name == "cup"]
        taken = reviews.NewReview(cup.origin_pk, Decision.TAKE, cup.asset_sha256, None, "key")
        assert reviews.record_reviews(connection, [taken])
        assert not reviews.record_reviews(connection, [replace(taken, take_key="of someone who was slower")])
    review = site.jobs_of(batch)[1]["review"]
    assert (review["decision"], review["verdict"]) == ("take", "reject")
    frame = {"video_image_data": {"first_frame_image_url": {"from": "cup"}}}
    later = run(site, [*jobs, CLIP | {"id": "spin"} | frame])
    assert (charges(site), indexed(site).keys()) == (2, {"mug"})
    assert site.jobs_of(later)[2]["state"] == "skipped"
    assert apply(site, decisions(site, batch, cup="take"), price=PICTURE)["decisions"]["unchanged"] == 1
    assert (charges(site), indexed(site).keys()) == (3, {"mug", "cup"})


def test_an_accepted_gate_opens_and_another_take_goes_before_what_waits(site: Site) -> None:
    frame = {"video_image_data": {"first_frame_image_url": {"from": "mug"}}}
    other = {"video_image_data": {"first_frame_image_url": {"from": "cup"}}}
    jobs: list[dict[str, Any]] = [
        SHARED | {"id": "mug", "prompt": "A mug", "gate": "manual"},
        SHARED | {"id": "cup", "prompt": "A cup", "gate": "manual"},
        CLIP | {"id": "mug-spin"} | frame,
        CLIP | {"id": "cup-spin"} | other,
    ]
    batch = run(site, jobs)
    document = apply(site, decisions(site, batch, mug="accept", cup="take"), price=TURN + PICTURE + TURN)
    states = {job["id"]: job["state"] for job in site.jobs_of(batch)}
    assert states == {"mug": "completed", "cup": "completed", "mug-spin": "completed", "cup-spin": "skipped"}
    (takes,) = document["take_batches"]
    assert (takes["state"], [hold["code"] for hold in takes["holds"]]) == ("held", ["gate"])
    apply(site, decisions(site, takes["batch"], cup="accept"), price=TURN)
    made = {job["id"]: job["state"] for job in site.jobs_of(takes["batch"])}
    assert made == {"cup": "completed", "cup-spin": "completed"}
    assert charges(site) == 5


def test_a_canary_is_approved_once_all_its_results_are_accepted(site: Site) -> None:
    jobs = [SHARED | {"id": name, "prompt": f"A {name}"} for name in ("mug", "cup", "pot")]
    batch = run(site, jobs, canary=1)
    assert looking.status(batch, site.settings)["state"] == "held"
    apply(site, decisions(site, batch, mug="reject"), price=None)
    assert looking.status(batch, site.settings)["state"] == "held"
    document = apply(site, decisions(site, batch, mug="accept"), price=2 * PICTURE)
    assert (document["reviewed"]["state"], document["worked"]) == ("completed", True)


def test_a_file_that_does_not_fit_changes_nothing(site: Site) -> None:
    batch = run(site, [SHARED | {"id": "mug", "prompt": "A mug"}, SHARED | {"id": "bad", "prompt": "[sandbox:fail]"}])
    file = decisions(site, batch, mug="reject", jug="accept", bad="accept")
    with pytest.raises(ManifestError) as caught:
        apply(site, file, price=None)
    errors: Any = caught.value.document["errors"]
    assert sorted(error["code"] for error in errors) == ["invalid-value", "unknown-job"]
    entry = {"job": "mug", "asset_sha256": "0" * 64, "decision": "accept"}
    for batch_id, code in ((batch, "asset-changed"), ("elsewhere", "unknown-batch")):
        file.write_text(json.dumps({"version": 1, "batch": batch_id, "decisions": [entry]}))
        with pytest.raises(ManifestError) as caught:
            apply(site, file, price=None)
        found: Any = caught.value.document["errors"]
        assert [error["code"] for error in found] == [code]
    assert all(job["review"] is None for job in site.jobs_of(batch))


def test_one_of_several_takes_is_made_anew_alone_and_only_with_a_yes(site: Site) -> None:
    batch = run(site, [SHARED | {"id": "mug", "prompt": "A mug", "takes": 2}])
    file = decisions(site, batch, **{"mug.1": "reject", "mug.2": "take"})
    with pytest.raises(SpendRefused):
        apply_review(file, site.settings, confirm=lambda _: False)
    assert all(job["review"] is None for job in site.jobs_of(batch))
    assert charges(site) == 2
    (takes,) = apply(site, file, price=PICTURE)["take_batches"]
    assert [job["id"] for job in site.jobs_of(takes["batch"])] == ["mug.2"]
    assert (charges(site), indexed(site).keys()) == (3, {"mug.2"})


def test_what_is_let_go_is_not_dearer_than_was_agreed_though_takes_cost_more(site: Site) -> None:
    frame = {"video_image_data": {"first_frame_image_url": {"from": "mug"}}}
    jobs: list[dict[str, Any]] = [
        SHARED | {"id": "mug", "prompt": "A mug", "gate": "manual"},
        SHARED | {"id": "cup", "prompt": "A cup"},
        CLIP | {"id": "spin"} | frame,
    ]
    batch = run(site, jobs)

    def agree_late(quote: ReviewQuote) -> bool:
        assert quote.amount == TURN + PICTURE
        with site.database.begin() as connection:
            connection.execute(update(store_jobs).where(store_jobs.c.name == "spin").values(price=TURN + 1))
        return True

    with pytest.raises(SpendRefused, match="risen"):
        apply_review(decisions(site, batch, mug="accept", cup="take"), site.settings, confirm=agree_late)
    assert charges(site) == 2
    assert all(job["review"] is None for job in site.jobs_of(batch))


class _Dies:
    """Someone who looks at the progress, and with whom the command breaks off."""

    seconds = 0.01

    def __call__(self, document: dict[str, Any], /) -> None:
        raise SystemExit


def test_takes_are_stored_before_anything_is_worked_so_that_resume_makes_them(site: Site) -> None:
    frame = {"video_image_data": {"first_frame_image_url": {"from": "mug"}}}
    jobs: list[dict[str, Any]] = [
        SHARED | {"id": "mug", "prompt": "A mug", "gate": "manual"},
        SHARED | {"id": "cup", "prompt": "A cup"},
        CLIP | {"id": "spin"} | frame,
    ]
    batch = run(site, jobs)
    file = decisions(site, batch, mug="accept", cup="take")
    with pytest.raises(SystemExit):
        apply_review(file, site.settings, confirm=lambda _: True, progress=_Dies())
    assert site.jobs_of(batch)[1]["review"]["decision"] == "take"
    document = apply(site, file, price=None)
    assert (document["decisions"]["unchanged"], len(document["take_batches"])) == (2, 1)
    resume(None, site.settings, confirm=lambda *_: True)
    assert charges(site) == 4
    assert looking.status(document["take_batches"][0]["batch"], site.settings)["state"] == "completed"
