"""What an answer says of each item: state, cost and files, for every status word and every gap."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.base.states import JobState
from orchestrator.engine.answers import read_outcomes
from orchestrator.katana.wire import Answer, parse_answer
from orchestrator.store.polling import ItemOutcome

FILE = {"kind": "image", "mime_type": "image/png", "original_data_url": "https://a/o", "url": "https://a/p"}
DONE = {"status": "completed", "output_assets": [FILE], "metadata": {"credits_spent": "3"}}
FINAL = ("completed", "failed", "error", "rejected")


def answer(**fields: Any) -> Answer:
    parsed = parse_answer(json.dumps({"request_id": "r", **fields}).encode())
    assert parsed is not None
    return parsed


def outcomes(parsed: Answer, *estimates: int, patience_over: bool = False) -> list[ItemOutcome]:
    open_items = [(position, Decimal(estimate)) for position, estimate in enumerate(estimates or (7,))]
    return read_outcomes(parsed, open_items, patience_over=patience_over)


def test_a_completed_item_has_its_files_and_its_own_cost() -> None:
    [outcome] = outcomes(answer(status="completed", responses=[DONE], metadata={"credits_spent": "99"}))
    assert (outcome.state, outcome.spent, outcome.error) == (JobState.COPYING, Decimal(3), None)
    assert [(source.role, source.url) for source in outcome.sources] == [
        ("original", "https://a/o"),
        ("preview", "https://a/p"),
    ]


@pytest.mark.parametrize(
    ("item", "request_total", "spent"),
    [
        ({"credits_spent": "3"}, "5", 3),
        ({}, "5", 5),
        ({}, None, 7),
        ({"credits_spent": "x"}, None, 7),
        ({"credits_spent": "0"}, "5", 0),
    ],
)
def test_the_cost_is_the_items_else_the_requests_else_the_worst_case(
    item: dict[str, str], request_total: str | None, spent: int
) -> None:
    parsed = answer(responses=[DONE | {"metadata": item}], metadata={"credits_spent": request_total})
    assert outcomes(parsed)[0].spent == spent


def test_a_requests_total_is_never_one_items_cost() -> None:
    silent = DONE | {"metadata": {}}
    parsed = answer(status="completed", responses=[silent, silent], metadata={"credits_spent": "14"})
    assert [outcome.spent for outcome in outcomes(parsed, 7, 7)] == [7, 7]
    assert [outcome.spent for outcome in read_outcomes(parsed, [(1, Decimal(7))], patience_over=False)] == [7]
    missing = answer(status="failed", metadata={"credits_spent": "14"})
    assert [outcome.spent for outcome in outcomes(missing, 7, 7)] == [7, 7]


@pytest.mark.parametrize(
    ("charge", "spent", "charged"),
    [({"credits_spent": "0"}, 0, False), ({"credits_spent": "2"}, 2, True), ({}, 7, None)],
)
@pytest.mark.parametrize("word", ["failed", "error", "FAILED"])
def test_a_failed_item_costs_its_worst_case_unless_it_is_said(
    word: str, charge: dict[str, str], spent: int, charged: bool | None
) -> None:
    item = {"status": word, "metadata": charge, "error": {"code": "boom", "message": "it broke"}}
    [outcome] = outcomes(answer(status="failed", responses=[item]))
    assert (outcome.state, outcome.spent) == (JobState.FAILED, spent)
    assert outcome.error == {
        "code": "provider-failed",
        "message": "it broke",
        "charged": charged,
        "provider": {"code": "boom", "message": "it broke"},
    }


def test_a_rejected_item_costs_nothing() -> None:
    item = {"status": "rejected", "error": {"code": "moderation", "message": "no"}}
    [outcome] = outcomes(answer(status="rejected", responses=[item]))
    assert (outcome.state, outcome.spent) == (JobState.REJECTED, 0)
    assert outcome.error is not None
    assert (outcome.error["code"], outcome.error["charged"]) == ("moderation", False)


def test_a_failure_without_a_reason_says_so() -> None:
    [outcome] = outcomes(answer(status="failed", responses=[{"status": "failed"}]))
    assert outcome.error is not None
    assert outcome.error["message"]
    assert outcome.error["provider"] is None


@pytest.mark.parametrize("word", ["queued", "processing", "paused", "expired", "sandbox_undocumented", "", None, 7])
def test_an_unfinished_or_unknown_word_is_no_outcome(word: Any) -> None:
    assert outcomes(answer(status=word, responses=[{"status": word, "output_assets": [FILE]}])) == []


@pytest.mark.parametrize(("word", "state"), [("failed", JobState.FAILED), ("rejected", JobState.REJECTED)])
def test_the_requests_final_word_speaks_for_missing_items(word: str, state: JobState) -> None:
    assert [outcome.state for outcome in outcomes(answer(status=word), 7, 7)] == [state, state]


@pytest.mark.parametrize("word", ["completed", "partial_failure", "processing"])
def test_a_missing_item_of_another_request_is_waited_for(word: str) -> None:
    assert outcomes(answer(status=word), patience_over=True) == []


def test_a_bundle_is_read_by_position() -> None:
    failed = {"status": "failed", "metadata": {"credits_spent": "0"}}
    parsed = answer(status="processing", responses=[DONE, {"status": "processing"}, None, failed])
    assert [(outcome.position, outcome.state) for outcome in outcomes(parsed, 7, 7, 7, 7, 7)] == [
        (0, JobState.COPYING),
        (3, JobState.FAILED),
    ]
    assert read_outcomes(parsed, [(1, Decimal(7))], patience_over=False) == []


@pytest.mark.parametrize("files", [[], None, [None], [{"url": ""}], [{"thumbnail_image_url": "https://a/t"}]])
def test_completed_without_a_file_is_waited_for_and_then_failed(files: Any) -> None:
    parsed = answer(status="completed", responses=[DONE | {"output_assets": files}])
    assert outcomes(parsed) == []
    [outcome] = outcomes(parsed, patience_over=True)
    assert (outcome.state, outcome.spent) == (JobState.FAILED, Decimal(3))
    assert outcome.error is not None
    assert outcome.error["charged"] is True


def test_every_rendition_of_a_video_has_its_role_once() -> None:
    video = {
        "mime_type": "video/mp4",
        "url": "https://a/p",
        "original_data_url": "https://a/o",
        "thumbnail_image_url": "https://a/t",
        "thumbnail_silent_video_mp4_url": "https://a/s",
        "final_frame_image_url": "https://a/f",
        "expires_at": "2026-05-20T10:00:00+00:00",
        "metadata": {"tags": [{"tag": "cat"}, "odd"]},
    }
    [outcome] = outcomes(answer(responses=[DONE | {"output_assets": [video, video | {"final_frame_image_url": ""}]}]))
    assert [(source.position, source.role, source.kind) for source in outcome.sources] == [
        (0, "original", "video"),
        (0, "thumbnail", "image"),
        (0, "preview", "video"),
        (0, "final_frame", "image"),
        (1, "original", "video"),
        (1, "thumbnail", "image"),
        (1, "preview", "video"),
    ]
    original = outcome.sources[0]
    assert original.tags == [{"tag": "cat"}]
    assert original.declared_mime == "video/mp4"
    assert original.expires_at is not None


def test_a_file_is_not_fetched_again_as_a_rendition_of_itself() -> None:
    same = dict.fromkeys(("url", "thumbnail_image_url", "thumbnail_silent_video_mp4_url"), "https://a/o")
    files = [FILE | same, FILE | same | {"url": "https://a/p"}]
    [outcome] = outcomes(answer(responses=[DONE | {"output_assets": files}]))
    assert [(source.position, source.role) for source in outcome.sources] == [
        (0, "original"),
        (1, "original"),
        (1, "preview"),
    ]


ITEMS = st.fixed_dictionaries(
    {},
    optional={
        "status": st.sampled_from([*FINAL, "queued", "processing", "other", None, 3]),
        "output_assets": st.sampled_from([None, [], [FILE], [FILE, {}], "x"]),
        "metadata": st.sampled_from([None, {}, {"credits_spent": "3"}, {"credits_spent": -1}]),
        "error": st.sampled_from([None, "no", {"code": 1}, [{"msg": "x"}]]),
    },
)


@given(
    status=st.sampled_from([*FINAL, "partial_failure", "queued", None]),
    responses=st.none() | st.lists(ITEMS | st.none(), max_size=4),
    estimates=st.lists(st.integers(0, 100), min_size=1, max_size=4),
    patience_over=st.booleans(),
)
def test_each_item_has_at_most_one_outcome_and_never_loses_money(
    status: Any, responses: Any, estimates: list[int], patience_over: bool
) -> None:
    found = outcomes(answer(status=status, responses=responses), *estimates, patience_over=patience_over)
    positions = [outcome.position for outcome in found]
    assert positions == sorted(set(positions))
    for outcome in found:
        assert outcome.spent >= 0
        assert (outcome.error is None) == (outcome.state is JobState.COPYING)
        if outcome.state is JobState.COPYING:
            assert any(source.role == "original" for source in outcome.sources)
        else:
            assert outcome.state in (JobState.FAILED, JobState.REJECTED)
        keys = [(source.position, source.role) for source in outcome.sources]
        assert len(keys) == len(set(keys))
