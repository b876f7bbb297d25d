"""Chains: what `from` becomes in an item, and what is found in graphs of any shape."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.base.diagnostics import Code
from orchestrator.manifest.findings import Findings
from orchestrator.manifest.nodes import Scalar
from orchestrator.planner.chains import check_chains
from orchestrator.planner.fields import JobType
from orchestrator.planner.plan import Plan
from orchestrator.planner.references import Reference
from orchestrator.planner.repricing import price_item

PlanText = Callable[..., Plan]
PLACE = Scalar("x", 1, 1)


@dataclass(frozen=True)
class Node:
    """A job of a graph, in which nothing else matters."""

    references: list[Reference]
    findings: Findings
    type: JobType | None = None


def graph(needs: dict[str, list[str]]) -> tuple[tuple[str, ...], Findings]:
    """The order that is found for jobs that need each other so, and the findings."""
    findings = Findings("f")
    known = {
        job: Node([Reference(need, "original", "image_url", PLACE, PLACE) for need in of], findings.for_job(job))
        for job, of in needs.items()
    }
    return (*(job for job, of in needs.items() if not of), *check_chains(known).order), findings


def test_a_chain_is_planned_with_its_price(plan_text: PlanText) -> None:
    plan = plan_text(
        "version: 1\nname: t\njobs:\n"
        "  - {id: mug, model: gpt-image-2, prompt: x, aspect_ratio: 1:1}\n"
        "  - {id: spin, model: seedance-2-0, prompt: x, aspect_ratio: auto, duration_seconds: 5,\n"
        "     video_image_data: {first_frame_image_url: {from: mug}}}\n"
        "  - {id: on, model: seedance-2-0, prompt: x, aspect_ratio: 16:9, duration_seconds: 5,\n"
        "     reference_image_urls: [{from: spin, use: final_frame}, {from: mug}, {from: mug}]}\n"
    )
    assert plan.errors == ()
    mug, spin, on = plan.jobs
    assert spin.item["video_image_data"] == {"first_frame_image_url": {"$from": "mug", "use": "original"}}
    assert on.item["reference_image_urls"][:2] == [
        {"$from": "spin", "use": "final_frame"},
        {"$from": "mug", "use": "original"},
    ]
    assert (mug.needs, spin.needs, on.needs) == ((), ("mug",), ("spin", "mug"))
    assert plan.estimate == Decimal(414)
    assert price_item(plan.catalog, type="video", model="seedance-2-0", item=on.item) == on.estimate


@pytest.mark.parametrize("field", ["reference_image_urls: [{from: m}, {from: m}]", "image_url: {from: m}"])
def test_another_jobs_result_counts_as_an_input(plan_text: PlanText, field: str) -> None:
    plan = plan_text(
        "version: 1\nname: t\ndefaults: {prompt: x, aspect_ratio: 16:9}\njobs:\n  - {id: m, model: gen}\n"
        f"  - {{id: v, model: seedance-2-0, duration_seconds: 5, {field}, video_image_data:\n"
        "     {last_frame_image_url: https://example.com/a.png, audio_input_urls: [https://example.com/a.mp3]}}\n"
    )
    expected = {Code.AUDIO_OR_FFLF_EXCLUSIVE, Code.AUDIO_15S_MAX}
    expected |= {Code.REFERENCE_NO_FF_OR_LF, Code.LF_NEEDS_FF} if "reference" in field else set()
    assert {found.code for found in plan.errors + plan.warnings} == expected


def test_a_take_is_named_where_the_bare_name_is_needed() -> None:
    _, findings = graph({"mug.1": [], "mug.2": [], "spin": ["mug"]})
    assert [error.message for error in findings.errors] == [
        "there is no job `mug`; with `takes` it is `mug.1` and so on"
    ]


def test_stored_words_are_reserved(plan_text: PlanText) -> None:
    plan = plan_text(
        "version: 1\nname: t\njobs: [{id: a, model: gen, prompt: x, aspect_ratio: 1:1, extra: {b: {$from: a}}}]"
    )
    assert [error.message for error in plan.errors] == ["`$from` is a reserved word"]


def test_long_and_wide_chains() -> None:
    deep = {f"{n}": [f"{n - 1}"] if n else [] for n in range(20_000)}
    assert graph(deep)[0] == tuple(deep)
    wide = {"all": [f"{n}" for n in range(20_000)]} | {f"{n}": [] for n in range(20_000)}
    assert graph(wide)[0][-1] == "all"
    ring = {f"{n}": [f"{(n + 1) % 20_000}"] for n in range(20_000)}
    (error,) = graph(ring)[1].errors
    assert error.code is Code.DEPENDENCY_CYCLE
    assert "… (20000 jobs), which needs `0`" in error.message


names = st.sampled_from("abcdefgh")


@given(st.dictionaries(names, st.lists(names, max_size=3), min_size=1))
def test_any_graph_is_ordered_or_its_cycles_are_named(needs: dict[str, list[str]]) -> None:
    ordered, findings = graph(needs)
    for place, job in enumerate(ordered):
        assert set(needs[job]) <= set(ordered[:place]) | {job for job in needs if job not in ordered}
    unknown = {error.job for error in findings.errors if error.code is Code.UNKNOWN_DEPENDENCY}
    assert unknown == {job for job, of in needs.items() if not set(of) <= set(needs)}
    cycles = [error for error in findings.errors if error.code is Code.DEPENDENCY_CYCLE]
    reach = {job: _reachable(job, needs) for job in needs}
    assert bool(cycles) == any(job in reach[job] for job in needs)
    assert all(error.job in reach[str(error.job)] for error in cycles)


def _reachable(job: str, needs: dict[str, list[str]]) -> set[str]:
    found: set[str] = set()
    todo = list(needs[job])
    while todo:
        need = todo.pop()
        if need in needs and need not in found:
            found.add(need)
            todo += needs[need]
    return found
