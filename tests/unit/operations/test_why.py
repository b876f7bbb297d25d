"""What jobs wait for: the first thing in their way, who moves it, and the command where that is a person."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from orchestrator.base.states import BatchState, HoldCode, JobState, WaitsFor
from orchestrator.operations.why import Mover, explain
from orchestrator.store.standing import HoldRow, Oldest, Standing

NOW = datetime(2026, 11, 23, 7, 0, tzinfo=UTC)
SOON = NOW + timedelta(seconds=30)
BEFORE = NOW - timedelta(hours=1)


def standing(**known: Any) -> Standing:
    usual: dict[str, Any] = {
        "now": NOW, "batch_id": "b-1", "state": BatchState.RUNNING, "sandbox": False, "is_cancelled": False,
        "holds": (), "workers": 1, "senders": 1, "breaker_opened_at": None, "breaker_probe_at": None,
        "paused_until": {}, "wait_seconds": {"gen": 0.0}, "doubt_outlook": None, "oldest": (),
    }  # fmt: skip
    return Standing(**usual | known)


def oldest(state: str, **known: Any) -> Oldest:
    usual: dict[str, Any] = {"waits_for": None, "count": 3, "job": "mug", "model": "gen", "since": BEFORE}
    return Oldest(state=JobState(state), **usual | known)


def hold(code: HoldCode, *, blocking: bool = True) -> HoldRow:
    return HoldRow(code, f"because of {code}", f"orchestrator mend {code}", blocking)


@pytest.mark.parametrize(
    ("known", "code", "mover", "until", "command"),
    [
        ({}, "turn", Mover.WORKER, None, None),
        ({"workers": 0}, "no-worker", Mover.NOBODY, None, "orchestrator worker"),
        ({"workers": 0, "sandbox": True}, "no-worker", Mover.NOBODY, None, "orchestrator resume b-1"),
        ({"senders": 0}, "no-worker", Mover.NOBODY, None, "orchestrator worker"),
        ({"senders": 0, "sandbox": True}, "no-worker", Mover.NOBODY, None, "orchestrator resume b-1"),
        ({"state": BatchState.PAUSED, "workers": 0}, "paused", Mover.PERSON, None, "orchestrator resume b-1"),
        ({"is_cancelled": True}, "cancelled", Mover.WORKER, None, None),
        (
            {"holds": (hold(HoldCode.IN_DOUBT, blocking=False), hold(HoldCode.BUDGET_REACHED)), "workers": 0},
            "budget-reached", Mover.PERSON, None, "orchestrator mend budget-reached",
        ),
        ({"holds": (hold(HoldCode.IN_DOUBT, blocking=False),)}, "turn", Mover.WORKER, None, None),
        ({"breaker_opened_at": BEFORE, "breaker_probe_at": SOON}, "breaker", Mover.WORKER, SOON, None),
        ({"paused_until": {"": SOON}}, "pacing", Mover.WORKER, SOON, None),
        ({"paused_until": {"gen": SOON}}, "pacing", Mover.WORKER, SOON, None),
        ({"paused_until": {"film": SOON}}, "turn", Mover.WORKER, None, None),
        ({"wait_seconds": {"gen": None}}, "in-flight", Mover.PROVIDER, None, None),
        ({"wait_seconds": {"gen": 30.0}}, "rate", Mover.WORKER, SOON, None),
    ],
)  # fmt: skip
def test_what_is_not_sent(known: dict[str, Any], code: str, mover: Mover, until: Any, command: str | None) -> None:
    reason = explain(standing(**known), oldest("pending"))
    assert (reason.code, reason.mover, reason.until, reason.command) == (code, mover, until, command)


def test_a_job_that_came_back_is_tried_again() -> None:
    reason = explain(standing(), oldest("pending", due_at=SOON, trouble="no connection"))
    assert (reason.code, reason.until) == ("retry", SOON)
    assert "no connection" in reason.waits_for


@pytest.mark.parametrize(
    ("state", "known", "found", "code", "mover"),
    [
        ("submitting", {}, {"worker_lives": True}, "at-work", Mover.WORKER),
        ("submitting", {}, {"worker_lives": False}, "rescue", Mover.WORKER),
        ("submitting", {"workers": 0}, {"worker_lives": False}, "no-worker", Mover.NOBODY),
        ("generating", {}, {"due_at": SOON}, "poll", Mover.PROVIDER),
        ("generating", {"workers": 0}, {"due_at": SOON}, "no-worker", Mover.NOBODY),
        ("generating", {"holds": (hold(HoldCode.PROVIDER_REFUSING),)}, {}, "provider-refusing", Mover.PERSON),
        ("generating", {"holds": (hold(HoldCode.DESTINATION_FAILING),)}, {}, "poll", Mover.PROVIDER),
        ("copying", {}, {"due_at": SOON, "trouble": "no room"}, "copy", Mover.WORKER),
        ("copying", {}, {"due_at": SOON, "copy_failures": 2, "is_fetched": True}, "not-stored", Mover.PERSON),
        ("copying", {}, {"due_at": SOON, "copy_failures": 2}, "not-stored", Mover.WORKER),
        ("copying", {}, {"worker_lives": True, "copy_failures": 1}, "at-work", Mover.WORKER),
        ("copying", {"workers": 0}, {"due_at": SOON, "copy_failures": 2}, "no-worker", Mover.NOBODY),
        ("copying", {"holds": (hold(HoldCode.DESTINATION_FAILING),)}, {}, "destination-failing", Mover.PERSON),
        ("in_doubt", {}, {}, "in-doubt", Mover.PERSON),
        ("in_doubt", {}, {"is_awaited": True}, "payment", Mover.WORKER),
        ("in_doubt", {"workers": 0}, {"is_awaited": True}, "in-doubt", Mover.PERSON),
    ],
)
def test_what_was_paid_for(state: str, known: dict[str, Any], found: dict[str, Any], code: str, mover: Mover) -> None:
    reason = explain(standing(**known), oldest(state, **found))
    assert (reason.code, reason.mover) == (code, mover)
    assert reason.until == (SOON if "due_at" in found and code != "no-worker" else None)


def test_an_account_that_is_paused_is_not_asked_before_that_is_over() -> None:
    later = SOON + timedelta(minutes=1)
    reason = explain(standing(paused_until={"": later}), oldest("generating", due_at=SOON))
    assert reason.until == later


def test_what_the_provider_does_not_know_is_told() -> None:
    reason = explain(standing(), oldest("generating", due_at=SOON, not_found_since=BEFORE))
    assert "known nothing of it since 06:00:00 UTC" in reason.waits_for


def test_doubts_tell_when_they_may_be_settled_and_how() -> None:
    known = standing(holds=(hold(HoldCode.IN_DOUBT),), doubt_outlook="the balance may tell after 07:20")
    reason = explain(known, oldest("in_doubt"))
    assert reason.waits_for == "whether it was charged; the balance may tell after 07:20"
    assert reason.command == "orchestrator mend in-doubt"


@pytest.mark.parametrize(
    ("waits_for", "holds", "code", "mover", "command"),
    [
        (WaitsFor.DEPENDENCY, (), "dependency", Mover.JOB, None),
        (WaitsFor.CANARY, (), "canary", Mover.JOB, None),
        (WaitsFor.CANARY, (hold(HoldCode.CANARY),), "canary", Mover.PERSON, "orchestrator mend canary"),
        (WaitsFor.GATE, (), "gate", Mover.PERSON, "orchestrator approve b-1"),
        (WaitsFor.GATE, (hold(HoldCode.GATE),), "gate", Mover.PERSON, "orchestrator mend gate"),
    ],
)
def test_what_waits(
    waits_for: WaitsFor, holds: tuple[HoldRow, ...], code: str, mover: Mover, command: str | None
) -> None:
    waiting = oldest("waiting", waits_for=waits_for, needs=(("cup", "generating"),))
    reason = explain(standing(holds=holds), waiting)
    assert (reason.code, reason.mover, reason.command) == (code, mover, command)
    if waits_for is WaitsFor.DEPENDENCY:
        assert reason.waits_for == "it needs cup (generating)"
