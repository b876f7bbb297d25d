"""The table of what follows: every answer has one rule, and none of them pays twice."""

import re
from typing import Any

import pytest

from orchestrator.assets import errors
from orchestrator.assets.errors import AssetError
from orchestrator.base.states import BLOCKING_HOLDS, JOB_TRANSITIONS, HoldCode, JobError, JobState
from orchestrator.engine.policy import COPIES, POLLS, POSTS, Effect, on_copy, on_poll, on_post
from orchestrator.katana.problem import Problem
from orchestrator.katana.verdict import REFUSALS, Kind, Verdict


def verdict(kind: Kind, status: int | None = None, words: str | None = None) -> Verdict:
    return Verdict(kind, "why", status=status, problem=Problem(None, words) if words else None)


@pytest.mark.parametrize(
    ("met", "becomes", "hold", "effect"),
    [
        (verdict(Kind.ACCEPTED, 200), JobState.GENERATING, None, Effect.FASTER),
        (verdict(Kind.NOT_SENT), JobState.PENDING, None, Effect.UNREACHED),
        (verdict(Kind.REFUSED, 429), JobState.PENDING, None, Effect.SLOWER),
        (verdict(Kind.REFUSED, 402, "moderation"), JobState.PENDING, HoldCode.BALANCE_LOW, Effect.ANSWERED),
        (verdict(Kind.REFUSED, 403, "not enough credits"), JobState.PENDING, HoldCode.BALANCE_LOW, Effect.ANSWERED),
        (verdict(Kind.REFUSED, 403, "moderation"), JobState.REJECTED, None, Effect.ANSWERED),
        (verdict(Kind.REFUSED, 401, "no such key"), JobState.PENDING, HoldCode.PROVIDER_REFUSING, Effect.ANSWERED),
        (verdict(Kind.REFUSED, 403), JobState.PENDING, HoldCode.PROVIDER_REFUSING, Effect.ANSWERED),
        (verdict(Kind.REFUSED, 422, "not enough credits"), JobState.REJECTED, None, Effect.ANSWERED),
        (verdict(Kind.REFUSED, 200), JobState.REJECTED, None, Effect.ANSWERED),
        (verdict(Kind.UNKNOWN, 503), JobState.IN_DOUBT, None, Effect.OVERLOADED),
        (verdict(Kind.UNKNOWN, 502), JobState.IN_DOUBT, None, Effect.UNANSWERED),
        (verdict(Kind.UNKNOWN, 429), JobState.IN_DOUBT, None, Effect.SLOWER),
        (verdict(Kind.UNKNOWN), JobState.IN_DOUBT, None, Effect.UNANSWERED),
    ],
)
def test_a_paid_request_has_one_rule(met: Verdict, becomes: JobState, hold: HoldCode | None, effect: Effect) -> None:
    rule = on_post(met)
    assert (rule.becomes, rule.hold, rule.effect) == (becomes, hold, effect)


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("status", [None, 200, 302, 500, 503, 599, *REFUSALS])
@pytest.mark.parametrize("words", [None, "moderation", "insufficient funds", "something else"])
def test_no_rule_pays_twice(kind: Kind, status: int | None, words: str | None) -> None:
    """Only what was surely not charged is sent again by itself, and never without an end to the waiting."""
    rule = on_post(verdict(kind, status, words))
    assert rule.becomes in JOB_TRANSITIONS[JobState.SUBMITTING]
    assert (rule.again_seconds is not None) == (rule.becomes is JobState.PENDING)
    if rule.becomes is JobState.PENDING:
        assert kind in (Kind.NOT_SENT, Kind.REFUSED)
        assert rule.hold in (None, *BLOCKING_HOLDS)
        waits = rule.hold or rule.again_seconds or rule.effect is Effect.SLOWER
        assert waits, "it is not sent again in a tight loop"


def test_every_rule_can_be_met() -> None:
    """No rule stands in the shadow of one before it."""
    words = {JobError.MODERATION: "moderation", JobError.INSUFFICIENT_CREDITS: "insufficient funds", None: None}
    for rule in POSTS:
        met = [on_post(verdict(rule.kind, status, words[rule.code])) for status in rule.statuses or (None,)]
        assert rule in met
    for poll in POLLS:
        assert [on_poll(status) for status in poll.statuses or (200,)] == [poll] * len(poll.statuses or (200,))


def test_every_fault_of_a_copy_has_its_rule() -> None:
    arguments: dict[type[AssetError], dict[str, Any]] = {errors.SourceGone: {"status": 404}}
    kinds = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, AssetError)]
    found = {on_copy(kind("why", **arguments.get(kind, {}))).when for kind in kinds}
    assert found == {rule.when for rule in COPIES}
    assert on_copy(errors.NotAnAsset("")).tries != on_copy(errors.CorruptAsset("")).tries


def test_a_refusal_for_now_is_no_failure() -> None:
    """It never opens the breaker."""
    effects = {on_post(verdict(kind, 429)).effect for kind in (Kind.REFUSED, Kind.UNKNOWN)}
    assert effects | {on_poll(429).effect} == {Effect.SLOWER}


def test_reasons_are_words() -> None:
    for rule in (*POSTS, *POLLS, *COPIES):
        assert re.match(r"[a-z].*[^.]$", rule.why), rule.why
