"""The plan: items as they are sent, exact money, one document."""

import json
import time
from collections.abc import Callable
from decimal import Decimal

import pytest

from orchestrator.base.diagnostics import Code
from orchestrator.catalog.bundled import bundled_catalog
from orchestrator.planner.plan import Plan

PlanText = Callable[..., Plan]

MIXED = """
version: 1
name: spring-catalog
budget: {credits: 500}
labels: {season: spring}
defaults: {type: image, model: gpt-image-2, aspect_ratio: 1:1, output_format: jpg}
jobs:
  - id: mug
    prompt: A mug
    labels: {shelf: top}
    input_image_urls: [https://example.com/a.png]
  - {id: cup, prompt: A cup}
  - id: spin
    type: video
    model: seedance-2-0
    prompt: A slow turn
    duration_seconds: 5
    aspect_ratio: 16:9
    extra: {seed: 42, scale: 2.5}
"""


def test_items_keep_the_users_own_fields(plan_text: PlanText) -> None:
    mug, cup, spin = plan_text(MIXED).jobs
    assert mug.item == {
        "type": "image",
        "model": "gpt-image-2",
        "aspect_ratio": "1:1",
        "output_format": "jpg",
        "prompt": "A mug",
        "input_image_urls": ["https://example.com/a.png"],
    }
    assert (mug.labels, cup.labels) == ({"season": "spring", "shelf": "top"}, {"season": "spring"})
    assert spin.item == {
        "type": "video",
        "model": "seedance-2-0",
        "aspect_ratio": "16:9",
        "prompt": "A slow turn",
        "duration_seconds": 5,
        "seed": 42,
        "scale": 2.5,
    }
    assert [job.ordinal for job in (mug, cup, spin)] == [0, 1, 2]


def test_type_is_added_where_the_model_tells_it(plan_text: PlanText) -> None:
    text = "version: 1\nname: t\njobs:\n  - {id: a, model: gen, prompt: x, aspect_ratio: 1:1}\n"
    (job,) = plan_text(text).jobs
    assert job.item["type"] == "image"


def test_document(plan_text: PlanText) -> None:
    document = plan_text(MIXED).document()
    assert document == {
        "valid": True,
        "name": "spring-catalog",
        "jobs": 3,
        "rejected": 0,
        "payment": "credits",
        "estimate": {"credits": "228", "usd": "1.1856"},
        "usdc": None,
        "payments": document["payments"],
        "by_model": [
            {"model": "seedance-2-0", "type": "video", "jobs": 1, "credits": "200", "usd": "1.04"},
            {"model": "gpt-image-2", "type": "image", "jobs": 2, "credits": "28", "usd": "0.1456"},
        ],
        "catalog": bundled_catalog().info(),
        "errors": [],
        "warnings": document["warnings"],
    }
    assert json.loads(json.dumps(document)) == document


def test_an_error_names_its_job_and_field(plan_text: PlanText) -> None:
    (error,) = plan_text(MIXED.replace("aspect_ratio: 16:9", "aspect_ratio: 5:1")).document()["errors"]
    assert (error["code"], error["line"], error["column"]) == ("unsupported-aspect-ratio", 18, 19)
    assert (error["job"], error["field"]) == ("spin", "aspect_ratio")
    assert error["file"].endswith("batch.yaml")


def test_a_file_that_cannot_be_read_still_has_a_document(plan_text: PlanText) -> None:
    document = plan_text("a: [").document()
    assert (document["valid"], document["name"], document["jobs"]) == (False, None, 0)
    assert [error["code"] for error in document["errors"]] == ["yaml-syntax"]


@pytest.mark.parametrize(
    ("budget", "rate", "limit"),
    [
        ("{credits: 228}", "0.0052", "228"),
        ('{credits: "227.9"}', "0.0052", "227.9"),
        ("{usd: 1.1856}", "0.0052", "228"),
        ("{usd: 1.18559}", "0.0052", "227.9"),
        ("{usd: 1}", "0.3", "3.3"),
        ("{usd: 0.1}", "0.0000000000000000000000003", "333333333333333333333333.3"),
    ],
)
def test_budgets_are_exact_and_never_rounded_up(plan_text: PlanText, budget: str, rate: str, limit: str) -> None:
    plan = plan_text(MIXED.replace("{credits: 500}", budget), usd_per_credit=Decimal(rate))
    assert plan.budget == Decimal(limit)
    assert plan.valid == (Decimal(limit) >= 228)
    assert plan.only_money != plan.valid


def test_the_smaller_of_budget_and_cap_holds(plan_text: PlanText) -> None:
    assert plan_text(MIXED, max_credits=Decimal(300)).budget == Decimal(300)
    assert plan_text(MIXED, max_credits=Decimal(900)).budget == Decimal(500)
    plan = plan_text(MIXED, max_credits=Decimal(100))
    assert [(error.code, error.line) for error in plan.errors] == [(Code.OVER_BUDGET, 1)]
    assert plan.errors[0].message.endswith(" credits, over --max-credits 100: raise it, or submit fewer jobs")
    assert plan.only_money


def test_a_dollar_budget_sets_no_limit_where_credits_cost_nothing(plan_text: PlanText) -> None:
    plan = plan_text(MIXED.replace("{credits: 500}", "{usd: 1}"), usd_per_credit=Decimal(0))
    assert (plan.valid, plan.budget) == (True, None)


def test_ten_thousand_jobs_plan_in_seconds(plan_text: PlanText) -> None:
    jobs = "".join(
        f"  - {{id: job-{i}, prompt: Photo {i}, image_urls: [https://example.com/{i}.png]}}\n" for i in range(10_000)
    )
    text = "version: 1\nname: t\ndefaults: {model: gpt-image-2, aspect_ratio: 1:1}\njobs:\n" + jobs
    started = time.process_time()
    plan = plan_text(text)
    assert (plan.valid, len(plan.jobs), plan.estimate) == (True, 10_000, Decimal(140_000))
    assert time.process_time() - started < 10


def test_more_than_a_million_jobs(plan_text: PlanText, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.manifest.jobs.MAX_JOBS", 1)
    (error,) = plan_text("version: 1\nname: t\njobs: [{id: a}, {id: b}]\n").errors
    assert (error.code, error.line, error.column) == (Code.INVALID_VALUE, 3, 7)


def test_a_careful_start(plan_text: PlanText) -> None:
    keys = "price_tolerance: 2.5%\ncanary: 2\nstop_when: {failed_over: 20%}\n"
    plan = plan_text(MIXED + keys)
    assert (plan.price_tolerance, plan.canary, plan.stop_when_failed_over) == (Decimal("0.025"), 2, Decimal("0.2"))
    assert plan_text(MIXED + keys, canary=5).canary == 5
    assert plan_text(MIXED + "price_tolerance: 0%\n").price_tolerance == 0
    plain = plan_text(MIXED)
    assert (plain.price_tolerance, plain.canary, plain.stop_when_failed_over) == (None, None, None)
