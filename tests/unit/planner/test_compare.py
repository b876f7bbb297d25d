"""How each job of a plan stands to what its collection has."""

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from orchestrator.base.diagnostics import Code, Diagnostic
from orchestrator.base.states import Gate, JobState
from orchestrator.catalog.bundled import bundled_catalog
from orchestrator.planner.compare import compare
from orchestrator.planner.plan import plan
from orchestrator.planner.result import Plan
from orchestrator.planner.standing import History, PastJob, Standing

HERE, ELSEWHERE = "s3://shop/spring", "s3://shop/old"


@pytest.fixture
def planned(tmp_path: Path) -> Plan:
    file = tmp_path / "things.yaml"
    file.write_text(
        "version: 1\nname: things\nbudget: {credits: 5}\n"
        'defaults: {model: gen, aspect_ratio: "1:1"}\n'
        "jobs:\n  - {id: mug, prompt: A mug}\n  - {id: cup, prompt: A cup}\n"
    )
    return plan(file, bundled_catalog(), usd_per_credit=Decimal("0.0052"))


def past(planned: Plan, pk: int = 1, state: JobState = JobState.COMPLETED, **more: Any) -> PastJob:
    """The plan's first job as it was in an earlier batch."""
    job = planned.jobs[0]
    facts: dict[str, Any] = {
        "pk": pk, "batch_id": f"things-{pk}", "name": job.id, "type": job.type, "model": job.model, "state": state,
        "fingerprint": job.fingerprint, "destination": HERE, "made_in": f"things-{pk}",
        "origin_pk": pk,
    }  # fmt: skip
    return PastJob(**(facts | more))


def history(*found: PastJob) -> History:
    newest_first = tuple(sorted(found, key=lambda one: one.pk, reverse=True))
    return History({str(found[0].fingerprint): newest_first}, {found[0].name: newest_first[0]}, HERE)


def standing(planned: Plan, *found: PastJob, **more: Any) -> str:
    return compare(planned, history(*found), **more).verdicts[0].standing


@pytest.mark.parametrize(
    ("state", "code", "expected"),
    [
        (JobState.COMPLETED, None, Standing.REUSED),
        (JobState.REJECTED, "rejected-input", Standing.FAILED_BEFORE),
        (JobState.REJECTED, "moderation", Standing.FAILED_BEFORE),
        (JobState.FAILED, "moderation", Standing.FAILED_BEFORE),
        (JobState.REJECTED, "insufficient-credits", Standing.RETRIED),
        (JobState.REJECTED, "media-missing", Standing.RETRIED),
        (JobState.FAILED, "provider-failed", Standing.RETRIED),
        (JobState.FAILED, "asset-expired", Standing.RETRIED),
        (JobState.IN_DOUBT, None, Standing.IN_DOUBT),
    ],
)
def test_what_became_of_it_decides(planned: Plan, state: JobState, code: str | None, expected: Standing) -> None:
    error = {"code": code, "message": "why"} if code else None
    assert standing(planned, past(planned, state=state, error=error)) == expected


@pytest.mark.parametrize("code", ["payment-lost", "asset-corrupt", "asset-expired", "request-lost", "provider-failed"])
def test_what_was_charged_and_gave_nothing_is_never_bought_again_by_itself(planned: Plan, code: str) -> None:
    lost = past(planned, 2, JobState.FAILED, error={"code": code, "message": "why", "charged": True})
    refused = past(planned, 3, JobState.REJECTED, error={"code": "insufficient-credits", "message": "why"})
    for found in ((lost,), (lost, refused), (past(planned, 1), lost)):
        verdict = compare(planned, history(*found), missing={1}).verdicts[0]
        assert verdict.standing == Standing.FAILED_BEFORE
        words = f"was charged and gave no file in things-2 ({code}); to pay for it again: --again --job mug"
        assert verdict.reason() == words
    assert standing(planned, lost, again={"mug"}) == Standing.AGAIN
    assert standing(planned, lost, past(planned, 3)) == Standing.REUSED
    assert standing(planned, lost, past(planned, 3), missing={3}) == Standing.ASSET_MISSING  # someone paid for it again


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (JobState.WAITING, "not bought yet in things-1"),
        (JobState.PENDING, "not bought yet in things-1"),
        (JobState.CANCELLED, "was cancelled in things-1"),
        (JobState.SKIPPED, "was skipped in things-1"),
    ],
)
def test_what_was_only_planned_is_new(planned: Plan, state: JobState, words: str) -> None:
    unsent = past(planned, state=state)
    compared = compare(planned, replace(history(unsent), by_fingerprint={}))
    assert (compared.verdicts[0].standing, compared.verdicts[0].reason()) == (Standing.NEW, words)
    assert (compared.counts()["new"], compared.counts()["changed"]) == (2, 0)
    changed = compare(planned, replace(history(replace(unsent, fingerprint="other")), by_fingerprint={}))
    assert changed.verdicts[0].standing == Standing.CHANGED


def test_what_is_in_doubt_is_in_doubt_whatever_came_after_it(planned: Plan) -> None:
    doubt = past(planned, 1, JobState.IN_DOUBT)
    failed = past(planned, 2, JobState.FAILED, error={"code": "provider-failed", "message": "why", "charged": False})
    assert standing(planned, doubt, failed) == Standing.IN_DOUBT
    assert standing(planned, doubt, past(planned, 2)) == Standing.REUSED


def test_a_result_counts_whatever_came_after_it(planned: Plan) -> None:
    refused = past(planned, 2, JobState.REJECTED, error={"code": "moderation", "message": "no"})
    assert standing(planned, past(planned), refused) == Standing.REUSED
    assert standing(planned, past(planned), refused, missing={1}) == Standing.FAILED_BEFORE
    assert standing(planned, past(planned, 3), refused, missing={3}) == Standing.ASSET_MISSING


def test_of_several_results_the_nearest_is_taken(planned: Plan) -> None:
    far = past(planned, 9, destination=ELSEWHERE)
    renamed = past(planned, 8, name="beaker")
    for found, pk in (((far, past(planned, 1)), 1), ((renamed, past(planned, 1)), 1), ((far,), 9)):
        verdict = compare(planned, history(*found)).verdicts[0]
        assert verdict.source is not None
        assert verdict.source.pk == pk


def test_a_result_that_nobody_rejected_is_taken_before_a_newer_one(planned: Plan) -> None:
    found = history(past(planned, 1), past(planned, 2))
    for rejected, expected in ((set[int](), 2), ({2}, 1), ({1, 2}, 2)):
        verdict = compare(planned, replace(found, rejected=frozenset(rejected))).verdicts[0]
        assert verdict.source is not None
        assert (verdict.standing, verdict.source.pk) == (Standing.REUSED, expected)


def test_again_buys_whatever_there_is(planned: Plan) -> None:
    assert standing(planned, past(planned), again=None) == Standing.AGAIN
    assert standing(planned, past(planned), again={"mug"}) == Standing.AGAIN
    assert standing(planned, past(planned), again={"cup"}) == Standing.REUSED
    assert standing(planned, past(planned, fingerprint="fp1:x"), again=None) == Standing.CHANGED


@pytest.fixture
def chained(tmp_path: Path) -> Plan:
    """a makes b, b makes c; the end comes first in the manifest."""
    file = tmp_path / "chain.yaml"
    clip = "{{id: {0}, prompt: {0}, model: seedance-2-0, duration_seconds: 5, aspect_ratio: '16:9', video_image_data: "
    clip += "{{first_frame_image_url: {{{1}}}}}}}"
    after_b = clip.format("c", "from: b, use: final_frame")
    after_a = clip.format("b", "from: a")
    first = "{id: a, prompt: a, model: gen, aspect_ratio: '1:1', gate: manual}"
    file.write_text(f"version: 1\nname: things\njobs:\n  - {after_b}\n  - {after_a}\n  - {first}\n")
    return plan(file, bundled_catalog(), usd_per_credit=Decimal("0.0052"))


def chain_verdicts(chained: Plan, states: dict[str, Any], **more: Any) -> dict[str, Any]:
    """How a chain stands whose jobs had these states and errors; `pk` counts them in the manifest's order."""
    by_fingerprint = {}
    for pk, job in enumerate(chained.jobs):
        state, error = states.get(job.id, (JobState.COMPLETED, None))
        facts = {"name": job.id, "type": job.type, "model": job.model, "fingerprint": job.fingerprint, "error": error}
        by_fingerprint[str(job.fingerprint)] = (past(chained, pk, state, **facts),)
    history = History(by_fingerprint, {}, HERE, more.pop("gates", {}))
    comparison = compare(chained, history, **more)
    return {verdict.job.id: verdict for verdict in comparison.verdicts} | {"estimate": comparison.estimate}


MODERATED = (JobState.REJECTED, {"code": "moderation", "message": "no", "charged": False})
CHARGED = (JobState.FAILED, {"code": "asset-corrupt", "message": "no", "charged": True})
BROKEN = (JobState.FAILED, {"code": "provider-failed", "message": "no", "charged": False})


@pytest.mark.parametrize(
    ("a", "expected"),
    [
        (MODERATED, "failed-before"),
        (CHARGED, "failed-before"),
        ((JobState.IN_DOUBT, None), "in-doubt"),
        ((JobState.COPYING, None), "under-way"),
    ],
)
def test_what_needs_a_job_that_is_left_out_is_left_out_to_any_depth(chained: Plan, a: Any, expected: str) -> None:
    found = chain_verdicts(chained, {"a": a, "b": BROKEN, "c": BROKEN})
    assert [found[name].standing for name in "abc"] == [expected, "dependency-failed", "dependency-failed"]
    assert (found["b"].reason(), found["c"].reason()) == (
        "it needs a, which is left out",
        "it needs b, which is left out",
    )
    assert found["estimate"] == 0
    kept = chain_verdicts(chained, {"a": a})  # what was made from it is there
    assert [kept[name].standing for name in "bc"] == ["reused", "reused"]


@pytest.mark.parametrize("more", [{"again": {"a"}}, {"missing": {2}}], ids=["again", "asset-missing"])
def test_what_is_made_from_a_job_that_is_made_anew_is_made_anew(chained: Plan, more: Any) -> None:
    found = chain_verdicts(chained, {"c": MODERATED}, **more)
    assert [found[name].standing for name in "bc"] == ["changed", "changed"]
    assert [found[name].reason() for name in "bc"] == [f"made from {name}, which is made anew" for name in "ab"]
    charged = chain_verdicts(chained, {"c": CHARGED}, **more)
    assert [charged[name].standing for name in "bc"] == ["changed", "failed-before"]


def test_a_rejected_result_is_not_asked_about_again_while_it_is_reused(chained: Plan) -> None:
    found = chain_verdicts(chained, {"b": BROKEN, "c": BROKEN}, gates={2: Gate.REJECTED})
    assert [found[name].standing for name in "abc"] == ["reused", "dependency-failed", "dependency-failed"]
    assert found["b"].reason() == "it needs a, whose result was rejected"
    anew = chain_verdicts(chained, {"b": BROKEN, "c": BROKEN}, gates={2: Gate.REJECTED}, again={"a"})
    assert [anew[name].standing for name in "abc"] == ["again", "retried", "retried"]
    assert compare(chained, History()).gates == {}


def test_the_fields_that_changed_are_named(planned: Plan) -> None:
    item = planned.jobs[0].item | {"prompt": "An old mug", "output_format": "jpg"}
    verdict = compare(planned, history(past(planned, fingerprint="fp1:x", item=item))).verdicts[0]
    assert (verdict.standing, verdict.fields) == (Standing.CHANGED, ("prompt", "output_format"))
    assert verdict.reason() == "changed since things-1: prompt, output_format"


def test_what_is_bought_is_priced_and_held_against_the_budget(planned: Plan) -> None:
    assert planned.only_over_budget  # both cost 6
    assert compare(planned, history(past(planned))).bought().errors == ()
    (error,) = compare(planned, History()).bought().errors
    assert (error.code, error.line, error.message[:34]) == (Code.OVER_BUDGET, 3, "what is to be bought costs 6 credi")
    other = replace(planned, errors=(*planned.errors, Diagnostic(Code.MEDIA_CHANGED, "x", "things.yaml")))
    assert [left.code for left in compare(other, history(past(planned))).bought().errors] == [Code.MEDIA_CHANGED]


def test_what_the_manifest_does_not_name_is_removed_unless_it_is_a_part(planned: Plan) -> None:
    known = history(past(planned, name="jug"))
    assert compare(planned, known).removed == ("jug",)
    assert compare(replace(planned, partial=True), known).removed == ()
