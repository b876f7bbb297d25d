"""The table of transitions is whole: nothing is missing, nothing is stuck, money cannot leak through it."""

from enum import StrEnum

import pytest

from orchestrator.base import states
from orchestrator.base.states import (
    ACTIVE_JOBS,
    BATCH_TRANSITIONS,
    ENDED_BATCHES,
    GOOD_JOBS,
    HOLD_EXIT_CODES,
    IN_FLIGHT_JOBS,
    JOB_TRANSITIONS,
    SUBMISSION_TRANSITIONS,
    BatchState,
    HoldCode,
    JobState,
    SubmissionState,
)  # fmt: skip

TABLES = [(JobState, JOB_TRANSITIONS), (SubmissionState, SUBMISSION_TRANSITIONS), (BatchState, BATCH_TRANSITIONS)]


@pytest.mark.parametrize(("words", "table"), TABLES)
def test_every_state_has_its_row_and_none_leads_to_itself(
    words: type[StrEnum], table: dict[str, frozenset[str]]
) -> None:
    assert set(table) == set(words)
    for state, targets in table.items():
        assert targets <= set(words)
        assert state not in targets


@pytest.mark.parametrize(
    ("table", "start"),
    [(JOB_TRANSITIONS, {JobState.WAITING}), (SUBMISSION_TRANSITIONS, {SubmissionState.INTENDED}),
     (BATCH_TRANSITIONS, {BatchState.RUNNING})],
)  # fmt: skip
def test_every_state_can_be_reached(table: dict[str, frozenset[str]], start: set[str]) -> None:
    reached = set(start)
    while more := {target for state in reached for target in table[state]} - reached:
        reached |= more
    assert reached == set(table)


def test_what_may_have_left_is_never_sent_again_by_itself() -> None:
    assert SubmissionState.INTENDED not in set().union(*SUBMISSION_TRANSITIONS.values())
    assert SubmissionState.SENT not in SUBMISSION_TRANSITIONS[SubmissionState.UNKNOWN]
    assert SUBMISSION_TRANSITIONS[SubmissionState.UNKNOWN] == {SubmissionState.ACCEPTED, SubmissionState.RESOLVED}
    assert JobState.PENDING not in JOB_TRANSITIONS[JobState.GENERATING] | JOB_TRANSITIONS[JobState.COPYING]
    assert JobState.SUBMITTING not in JOB_TRANSITIONS[JobState.IN_DOUBT]


def test_a_completed_job_stays_completed() -> None:
    assert JOB_TRANSITIONS[JobState.COMPLETED] == frozenset()
    assert BATCH_TRANSITIONS[BatchState.COMPLETED] == frozenset()
    assert [state for state, targets in JOB_TRANSITIONS.items() if JobState.COMPLETED in targets] == [JobState.COPYING]


def test_the_groups_fit_together() -> None:
    assert set(IN_FLIGHT_JOBS) <= set(ACTIVE_JOBS)
    assert not set(GOOD_JOBS) & set(ACTIVE_JOBS)
    assert JobState.IN_DOUBT not in ACTIVE_JOBS
    assert set(ENDED_BATCHES) == set(BatchState) - {BatchState.RUNNING, BatchState.PAUSED, BatchState.HELD}


def test_every_hold_has_an_exit_code_and_doubt_comes_first() -> None:
    assert set(HOLD_EXIT_CODES) == set(HoldCode)
    codes = list(HOLD_EXIT_CODES.values())
    assert codes == sorted(codes, reverse=True)
    assert set(states.BLOCKING_HOLDS) < set(HoldCode)
    assert HoldCode.IN_DOUBT not in states.BLOCKING_HOLDS
