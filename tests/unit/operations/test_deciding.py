"""What decisions mean for a batch: which are new, what they answer, and which takes belong together."""

from typing import Any

import pytest

from orchestrator.base.states import Decision, Gate, JobState
from orchestrator.manifest.decisions import Decided, Decisions
from orchestrator.manifest.findings import Findings
from orchestrator.manifest.nodes import Mapping, Scalar
from orchestrator.operations.deciding import ReviewWork, UnderReview, work_of
from orchestrator.store.reviews import Reviewable, Reviewed

SHA = "a" * 64
NODE = Mapping({}, 1, 1)


def job(pk: int, **changes: Any) -> Reviewable:
    """A completed job `job-PK` that made its own result."""
    facts: dict[str, Any] = {"origin_pk": pk, "name": f"job-{pk}", "state": JobState.COMPLETED, "gate": None}
    return Reviewable(pk=pk, **facts | {"asset_sha256": SHA} | changes)


def said(pk: int, decision: Decision, sha256: str = SHA, note: str | None = None) -> Decided:
    return Decided(f"job-{pk}", sha256, decision, note, NODE)


def standing(*jobs: Reviewable, **changes: Any) -> UnderReview:
    facts: dict[str, Any] = {"verdicts": {}, "take_keys": {}, "waiting": ()}
    return UnderReview(jobs, **facts | changes)


def work(found: UnderReview, *decided: Decided) -> tuple[ReviewWork, list[str]]:
    findings = Findings("decisions.json")
    made = work_of(Decisions("things-1", Scalar("things-1", 1, 1), decided), found, findings)
    return made, [error.message for error in findings.errors]


@pytest.mark.parametrize(
    ("found", "decision", "words"),
    [
        (job(1, state=JobState.GENERATING), Decision.ACCEPT, "is generating: there is nothing to accept"),
        (job(1, state=JobState.FAILED, asset_sha256=""), Decision.REJECT, "is failed: there is nothing to reject"),
        (job(1, state=JobState.IN_DOUBT), Decision.TAKE, "is in doubt: there is nothing to take again"),
        (job(1, state=JobState.REJECTED, has_item=False), Decision.TAKE, "was left out for its row"),
        (job(1, gate=Gate.REJECTED), Decision.ACCEPT, "has a gate that was answered with no"),
        (job(1, asset_sha256="b" * 64), Decision.ACCEPT, "make the report again"),
        (job(2), Decision.ACCEPT, "has no job `job-1`; did you mean `job-2`?"),
    ],
)
def test_what_cannot_be_carried_out_is_told(found: Reviewable, decision: Decision, words: str) -> None:
    made, faults = work(standing(found), said(1, decision))
    assert (len(faults), made.new) == (1, ())
    assert words in faults[0]


def test_only_what_differs_from_the_verdict_is_new() -> None:
    before = standing(job(1), job(2), verdicts={1: Reviewed(Decision.REJECT, SHA, "dark")}, take_keys={(2, SHA): "k"})
    made, _ = work(before, said(1, Decision.REJECT, note="dark"), said(2, Decision.TAKE))
    assert (made.new, made.unchanged, made.takes) == ((), 2, {"k": ("job-2",)})
    made, _ = work(before, said(1, Decision.REJECT, note="very dark"))
    assert [review.note for review in made.new] == ["very dark"]


def test_takes_belong_to_the_key_that_they_were_first_asked_for_with() -> None:
    before = standing(job(1), job(2), job(3), take_keys={(1, SHA): "old", (2, SHA): "old"})
    made, _ = work(before, said(1, Decision.TAKE), said(3, Decision.TAKE))
    new_key = made.new[0].take_key
    assert new_key is not None
    assert made.takes == {"old": ("job-1", "job-2"), new_key: ("job-3",)}
    again, _ = work(standing(job(1), job(2), job(3)), said(3, Decision.TAKE), said(1, Decision.ACCEPT))
    assert again.takes == {new_key: ("job-3",)}


def test_gates_are_answered_and_canaries_only_once_all_is_accepted() -> None:
    found = standing(job(1, gate=Gate.MANUAL), job(2, gate=Gate.MANUAL), job(3, gate=Gate.MANUAL), waiting=(9,))
    made, _ = work(found, said(1, Decision.ACCEPT), said(2, Decision.REJECT), said(3, Decision.TAKE))
    assert (made.answers.opened, made.answers.closed, made.answers.released) == ((1,), ("job-2", "job-3"), ())
    assert made.gated == {"job-3"}
    reused = job(4, origin_pk=1)
    made, _ = work(standing(job(5), job(6), reused, waiting=(9,)), said(5, Decision.ACCEPT), said(6, Decision.ACCEPT))
    assert made.answers.released == (9,)


def test_asking_for_another_take_neither_takes_a_yes_back_nor_is_one() -> None:
    yes = Reviewed(Decision.ACCEPT, SHA, None)
    before = standing(job(1), job(2), verdicts={1: yes}, take_keys={(1, SHA): "k"}, waiting=(9,))
    made, _ = work(before, said(1, Decision.ACCEPT))
    assert (made.new, made.unchanged) == ((), 1)
    made, _ = work(before, said(1, Decision.TAKE), said(2, Decision.ACCEPT))
    assert made.answers.released == (9,)
    made, _ = work(standing(job(1), verdicts={1: yes}, waiting=(9,)), said(1, Decision.TAKE))
    assert made.answers.released == ()
