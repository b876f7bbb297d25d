"""Chains against a real sandbox: results go from job to job as they are stored, and a branch ends with its root."""

import asyncio
from collections.abc import Iterator
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select, text, update

from orchestrator.base.errors import SpendRefused, UsageError
from orchestrator.base.payments import Unit
from orchestrator.operations.approving import approve
from orchestrator.operations.quoting import SpendQuote
from orchestrator.operations.resolving import resolve
from orchestrator.operations.resuming import resume
from orchestrator.operations.retrying import retry
from orchestrator.operations.running import exit_code
from orchestrator.operations.steering import cancel, reject
from orchestrator.planner.result import PlannedJob
from orchestrator.sandbox import FaultRule, Sandbox
from orchestrator.store.audit import audit
from orchestrator.store.database import Database
from orchestrator.store.tables import assets, jobs

from .engine_site import BATCH, Site, make_site

#: A video model that gives final frames, and one that does not; both in credits for their shortest clip.
CLIP = ("ltx-2-3", 5, Decimal(20))
CLIP_WITHOUT_END = ("veo3-1-lite", 8, Decimal(140))

PICTURE = {"type": "image", "model": "gpt-image-2", "aspect_ratio": "1:1"}
FAILING = "A thing that fails [sandbox:fail]"


@pytest.fixture
def site(tmp_path: Path, database: Database, database_url: str) -> Iterator[Site]:
    with Sandbox(tmp_path / "sandbox", time_scale=0.0) as sandbox:
        yield make_site(tmp_path, sandbox, database, database_url)


def picture(name: str, *needs: str, prompt: str = "A thing", has_gate: bool = False) -> dict[str, Any]:
    """An image job; what it needs are its source images."""
    item: dict[str, Any] = PICTURE | {"prompt": f"{prompt} {name}"}
    if needs:
        item["image_urls"] = [{"$from": need, "use": "original"} for need in needs]
    return {"id": name, "item": item, "estimate": Decimal(14), "needs": needs, "has_gate": has_gate}


def clip(
    name: str,
    need: str,
    use: str = "original",
    *,
    model: tuple[str, int, Decimal] = CLIP,
    prompt: str = "A turn",
    has_gate: bool = False,
) -> dict[str, Any]:
    """A video job whose first frame is another job's result."""
    item = {
        "type": "video",
        "model": model[0],
        "prompt": f"{prompt} {name}",
        "aspect_ratio": "16:9",
        "duration_seconds": model[1],
        "video_image_data": {"first_frame_image_url": {"$from": need, "use": use}},
    }
    return {"id": name, "item": item, "estimate": model[2], "needs": (need,), "has_gate": has_gate}


def planned(*made: dict[str, Any]) -> list[PlannedJob]:
    return [
        PlannedJob(ordinal=n, type=job["item"]["type"], model=job["item"]["model"], labels={}, **job)
        for n, job in enumerate(made)
    ]


def run(site: Site, *made: dict[str, Any], **options: Any) -> dict[str, Any]:
    return asyncio.run(site.run(site.store(planned(*made), **options)))


def yes(_: SpendQuote) -> bool:
    return True


def codes(document: dict[str, Any]) -> list[str]:
    return [hold["code"] for hold in document["holds"]]


def mend(site: Site) -> None:
    """What failed would work now."""
    prompt = text("""jsonb_set(item, '{prompt}', to_jsonb('A thing that works ' || name))""")
    with site.database.begin() as connection:
        connection.execute(update(jobs).values(item=prompt))


def is_balanced(site: Site) -> bool:
    with site.database.begin() as connection:
        return not audit(connection)


def states(site: Site) -> dict[str, str]:
    return {name: job["state"] for name, job in site.jobs().items()}


def first_frame(site: Site, name: str) -> str:
    """The SHA-256 of the first frame that a video was sent with."""
    with site.database.begin() as connection:
        item = connection.execute(select(jobs.c.item).where(jobs.c.name == name)).scalar_one()
    return str(item["video_image_data"]["first_frame_image_url"]["$media"])


def stored(site: Site, name: str, role: str = "original") -> str:
    """The SHA-256 of a job's stored file."""
    query = select(assets.c.sha256).join(jobs, jobs.c.pk == assets.c.job_pk)
    with site.database.begin() as connection:
        return str(connection.execute(query.where(jobs.c.name == name, assets.c.role == role)).scalar_one())


def test_an_image_becomes_a_film_and_its_end_the_next_film(site: Site) -> None:
    document = run(site, picture("hero"), clip("turn", "hero"), clip("on", "turn", "final_frame"))
    assert document["state"] == "completed", site.jobs()
    assert document["credits"]["spent"] == "54"
    assert first_frame(site, "turn") == stored(site, "hero")
    assert first_frame(site, "on") == stored(site, "turn", "final_frame")
    site.audit()


def test_results_fan_out_and_in(site: Site) -> None:
    """The needed jobs stand after those that need them: the order in the manifest means nothing."""
    document = run(
        site,
        picture("both", "left", "right"),
        clip("turn", "left"),
        picture("left", "root"),
        picture("right", "root"),
        picture("root"),
    )
    assert document["state"] == "completed", site.jobs()
    with site.database.begin() as connection:
        item = connection.execute(select(jobs.c.item).where(jobs.c.name == "both")).scalar_one()
    assert [image["$media"] for image in item["image_urls"]] == [stored(site, "left"), stored(site, "right")]
    site.audit()


def test_a_source_that_expires_breaks_no_chain(site: Site) -> None:
    """What waited for a person goes on from the stored copy, long after the provider has dropped the file."""
    document = run(site, picture("hero", has_gate=True), clip("turn", "hero"))
    assert document["state"] == "held"
    site.play(FaultRule(at="asset", kind="expired"))
    with site.database.begin() as connection:
        source = connection.execute(select(assets.c.source_url).where(assets.c.role == "original")).scalar_one()
    assert httpx.get(source).status_code >= 400
    site.play()
    assert approve(BATCH, site.settings, job="hero", confirm=yes)["state"] == "completed"
    assert first_frame(site, "turn") == stored(site, "hero")


def test_a_stored_copy_that_is_gone_is_not_paid_for(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    run(site, picture("hero", has_gate=True), clip("turn", "hero"))
    for path in site.out.rglob("*.png"):
        path.unlink()
    impatient = site.settings.model_copy(update={"stall_after": 0.0})
    approve(BATCH, impatient, job="hero", confirm=yes)
    turn = site.jobs()["turn"]
    assert (turn["state"], turn["error"]["code"], turn["error"]["charged"]) == ("rejected", "media-missing", False)
    assert "is no longer at file://" in turn["error"]["message"]
    assert site.net_by_job()["turn"] == []


def test_what_needs_a_job_that_fails_is_skipped_however_far_down(site: Site) -> None:
    document = run(
        site,
        picture("hero", prompt=FAILING),
        clip("turn", "hero"),
        clip("on", "turn", "final_frame"),
        picture("other"),
        picture("both", "hero", "other"),
    )
    assert document["state"] == "partial_failure"
    assert states(site) == {
        "hero": "failed", "turn": "skipped", "on": "skipped", "other": "completed", "both": "skipped",
    }  # fmt: skip
    errors = {name: job["error"] for name, job in site.jobs().items() if job["state"] == "skipped"}
    assert {error["code"] for error in errors.values()} == {"dependency-failed"}
    assert errors["turn"]["message"].startswith("it needs hero, which is failed: ")
    assert errors["on"]["message"] == "it needs turn, which was skipped"
    assert not any(error["charged"] for error in errors.values())
    site.audit()


def test_a_retry_revives_the_branch(site: Site) -> None:
    run(site, picture("hero", prompt=FAILING), clip("turn", "hero"), clip("on", "turn", "final_frame"))
    mend(site)
    asked: list[SpendQuote] = []
    with pytest.raises(SpendRefused, match="not confirmed"):
        retry(BATCH, site.settings, confirm=lambda quote: bool(asked.append(quote)))
    assert (asked[0].jobs, asked[0].job_credits) == (3, 54), "the whole branch is in the price"
    assert retry(BATCH, site.settings, confirm=yes)["state"] == "completed"
    assert first_frame(site, "turn") == stored(site, "hero")
    assert is_balanced(site)


@pytest.mark.parametrize("job", ["hero", "turn"])
def test_one_branch_of_two_is_revived_by_its_root_or_its_tip(site: Site, job: str) -> None:
    run(
        site,
        picture("hero", prompt=FAILING),
        clip("turn", "hero"),
        picture("other", prompt=FAILING),
        picture("both", "hero", "other"),
    )
    mend(site)
    retry(BATCH, site.settings, job=job, confirm=yes)
    assert states(site) == {"hero": "completed", "turn": "completed", "other": "failed", "both": "skipped"}
    assert site.jobs()["both"]["error"]["message"].startswith("it needs other, which is failed: ")
    assert retry(BATCH, site.settings, confirm=yes)["state"] == "completed"
    assert is_balanced(site)


def test_what_was_left_out_of_a_retry_is_no_completed_batch(site: Site) -> None:
    run(
        site,
        picture("hero", prompt=FAILING),
        clip("turn", "hero"),
        clip("spin", "hero"),
        clip("on", "spin", "final_frame"),
    )
    mend(site)
    assert retry(BATCH, site.settings, job="turn", confirm=yes)["state"] == "partial_failure"
    assert states(site) == {"hero": "completed", "turn": "completed", "spin": "skipped", "on": "skipped"}
    reasons = [site.jobs()[name]["error"]["message"] for name in ("spin", "on")]
    assert reasons == ["it needs hero, and was left out when hero was run again", "it needs spin, which was skipped"]
    assert retry(BATCH, site.settings, confirm=yes)["state"] == "completed"
    assert set(states(site).values()) == {"completed"}
    assert is_balanced(site)


def test_a_retry_that_fails_again_skips_the_branch_again(site: Site) -> None:
    run(site, picture("hero", prompt=FAILING), clip("turn", "hero"))
    assert retry(BATCH, site.settings, confirm=yes)["state"] == "failed"
    assert states(site) == {"hero": "failed", "turn": "skipped"}


def test_a_video_without_a_final_frame_fails_what_goes_on_from_it(site: Site) -> None:
    document = run(
        site,
        picture("hero"),
        clip("turn", "hero", model=CLIP_WITHOUT_END),
        clip("on", "turn", "final_frame"),
        clip("further", "on", "final_frame"),
    )
    assert document["state"] == "partial_failure"
    assert states(site) == {"hero": "completed", "turn": "completed", "on": "failed", "further": "skipped"}
    error = site.jobs()["on"]["error"]
    assert (error["code"], error["charged"]) == ("dependency-failed", False)
    assert error["message"] == "it needs turn, which came without a final frame"
    with pytest.raises(UsageError, match="nothing to retry"):
        retry(BATCH, site.settings, confirm=yes)
    with pytest.raises(UsageError, match="cannot run: it needs turn, which came without a final frame"):
        retry(BATCH, site.settings, job="on", confirm=yes)
    with pytest.raises(UsageError, match=f"job on of {BATCH} cannot run"):
        retry(BATCH, site.settings, job="further", confirm=yes)
    site.audit()


def test_a_final_frame_that_is_needed_is_worth_several_tries(site: Site) -> None:
    site.play(FaultRule(at="asset", kind="500", match="final-frame", times=2))
    document = run(site, picture("hero"), clip("turn", "hero"), clip("on", "turn", "final_frame"))
    assert document["state"] == "completed", site.jobs()


def test_cancelling_takes_the_whole_chain_back(site: Site) -> None:
    run(site, picture("hero", has_gate=True), clip("turn", "hero"), clip("on", "turn", "final_frame"))
    assert cancel(BATCH, site.settings)["state"] == "cancelled"
    assert states(site) == {"hero": "completed", "turn": "cancelled", "on": "cancelled"}


def test_what_needs_a_job_in_doubt_waits_for_its_end(site: Site) -> None:
    site.play(FaultRule(at="submit", kind="drop-after-charge", times=1))
    document = run(site, picture("hero"), clip("turn", "hero"))
    assert (document["state"], codes(document)) == ("held", ["in-doubt"])
    assert states(site) == {"hero": "in_doubt", "turn": "waiting"}
    resolve(BATCH, "hero", site.settings, "charged")
    assert states(site) == {"hero": "failed", "turn": "skipped"}
    assert site.document()["state"] == "failed"
    resolve(BATCH, "hero", site.settings, "not-charged")
    assert states(site) == {"hero": "pending", "turn": "waiting"}


def test_resume_tells_the_price_of_the_whole_chain(site: Site) -> None:
    site.store(
        planned(
            picture("hero"),
            clip("turn", "hero"),
            picture("shown", has_gate=True),
            clip("spin", "shown"),
            clip("on", "spin", "final_frame"),
            clip("last", "hero", has_gate=True),
        )
    )
    asked: list[Decimal] = []
    with pytest.raises(SpendRefused, match="not confirmed"):
        resume(BATCH, site.settings, confirm=lambda _, unsent: bool(asked.append(unsent[Unit.CREDITS])))
    assert asked == [14 + 20 + 14 + 20], "what is behind the gate goes only when someone says so"


def test_a_chain_keeps_to_the_budget(site: Site) -> None:
    document = run(site, picture("hero"), clip("turn", "hero"), budget=20)
    assert (document["state"], codes(document)) == ("held", ["budget-reached"])
    assert states(site) == {"hero": "completed", "turn": "pending"}


# Gates and canaries.


def test_a_gate_holds_what_needs_the_result_until_it_is_approved(site: Site) -> None:
    document = run(
        site, picture("hero", has_gate=True), clip("turn", "hero"), clip("on", "turn", "final_frame"), picture("other")
    )
    assert (document["state"], codes(document), exit_code(document)) == ("held", ["gate"], 3)
    assert states(site) == {"hero": "completed", "turn": "waiting", "on": "waiting", "other": "completed"}
    assert document["holds"][0]["message"] == (
        "look at the result of hero: 2 jobs wait, 40 credits; "
        f"to leave them out: orchestrator reject {BATCH} --job hero"
    )
    assert document["holds"][0]["command"] == f"orchestrator approve {BATCH} --job hero"
    (resumed,) = resume(BATCH, site.settings, confirm=lambda *_: False)
    assert (resumed["state"], codes(resumed)) == ("held", ["gate"]), "resume is no answer, and asks for nothing"

    asked: list[SpendQuote] = []
    with pytest.raises(SpendRefused, match="not confirmed"):
        approve(BATCH, site.settings, job="hero", confirm=lambda quote: bool(asked.append(quote)))
    assert (asked[0].jobs, asked[0].job_credits, asked[0].other_credits) == (2, 40, 0)
    assert approve(BATCH, site.settings, job="hero", confirm=yes)["state"] == "completed"
    with pytest.raises(UsageError, match="its result was approved"):
        approve(BATCH, site.settings, job="hero", confirm=yes)
    site.audit()


def test_a_rejected_result_skips_its_branch_alone(site: Site) -> None:
    run(
        site,
        picture("hero", has_gate=True),
        clip("turn", "hero"),
        clip("on", "turn", "final_frame"),
        picture("second", has_gate=True),
        clip("spin", "second"),
    )
    assert site.document()["holds"][0]["message"].startswith("look at the results of hero, second: 3 jobs wait, 60 ")
    document = reject(BATCH, site.settings, job="hero")
    assert (document["state"], codes(document)) == ("held", ["gate"])
    assert states(site) == {
        "hero": "completed", "turn": "skipped", "on": "skipped", "second": "completed", "spin": "waiting",
    }  # fmt: skip
    assert site.jobs()["turn"]["error"]["message"] == "it needs hero, whose result was rejected"
    assert approve(BATCH, site.settings, confirm=yes)["state"] == "completed"
    assert states(site)["spin"] == "completed"
    for verb in (reject, partial(approve, confirm=yes)):
        with pytest.raises(UsageError, match="its result was rejected"):
            verb(BATCH, site.settings, job="hero")
    with pytest.raises(UsageError, match="the result of hero was rejected"):
        retry(BATCH, site.settings, job="on", confirm=yes)
    site.audit()


def test_approving_one_result_quotes_its_own_branch_as_far_as_the_next_gate(site: Site) -> None:
    run(
        site,
        picture("hero", has_gate=True),
        clip("turn", "hero", has_gate=True),
        clip("on", "turn", "final_frame"),
        picture("second", has_gate=True),
        picture("both", "hero", "second"),
    )
    asked: list[SpendQuote] = []
    for job in ("hero", None):
        with pytest.raises(SpendRefused, match="not confirmed"):
            approve(BATCH, site.settings, job=job, confirm=lambda quote: bool(asked.append(quote)))
    assert [(quote.jobs, quote.job_credits, quote.other_credits) for quote in asked] == [(1, 20, 0), (2, 34, 0)]


def test_a_rejected_last_gate_ends_the_batch(site: Site) -> None:
    run(site, picture("hero", has_gate=True), clip("turn", "hero"))
    assert reject(BATCH, site.settings, job="hero")["state"] == "completed"


def test_what_needs_two_results_waits_for_both_gates(site: Site) -> None:
    run(site, picture("left", has_gate=True), picture("right", has_gate=True), picture("both", "left", "right"))
    assert approve(BATCH, site.settings, job="left", confirm=yes)["state"] == "held"
    assert site.document()["holds"][0]["message"].startswith("look at the result of right: 1 job waits")
    assert approve(BATCH, site.settings, job="right", confirm=yes)["state"] == "completed"


def test_a_gate_without_a_result_cannot_be_answered(site: Site) -> None:
    site.store(planned(picture("hero", has_gate=True), clip("turn", "hero"), picture("plain")))
    with pytest.raises(UsageError, match="is pending: there is no result to look at yet"):
        reject(BATCH, site.settings, job="hero")
    with pytest.raises(UsageError, match="has no gate"):
        reject(BATCH, site.settings, job="plain")
    with pytest.raises(UsageError, match="has no job 'nobody'"):
        reject(BATCH, site.settings, job="nobody")


def test_the_canary_comes_first_then_the_needs_then_the_gate(site: Site) -> None:
    made = [picture(f"hero-{n}", has_gate=n == 1) for n in range(2)] + [
        clip(f"turn-{n}", f"hero-{n}") for n in range(2)
    ]
    document = run(site, *made, canary=1)
    assert (document["state"], codes(document)) == ("held", ["canary"])
    assert states(site) == {"hero-0": "completed", "hero-1": "waiting", "turn-0": "completed", "turn-1": "waiting"}
    document = approve(BATCH, site.settings, confirm=yes)
    assert (document["state"], codes(document)) == ("held", ["gate"])
    assert (states(site)["hero-1"], states(site)["turn-1"]) == ("completed", "waiting")
    assert approve(BATCH, site.settings, confirm=yes)["state"] == "completed"


def test_a_canary_that_fails_takes_what_needs_it_out_of_the_question(site: Site) -> None:
    document = run(site, picture("hero", prompt=FAILING), picture("more", "hero"), canary=1)
    assert (document["state"], codes(document)) == ("failed", [])
    assert states(site) == {"hero": "failed", "more": "skipped"}
