"""How long somebody looks on."""

import pytest

from orchestrator.base.states import JobState
from orchestrator.operations.looking import is_coming_to_rest


@pytest.mark.parametrize(
    ("state", "jobs", "goes_on"),
    [
        ("paused", {"pending": 3}, False),
        ("paused", {"pending": 3, "generating": 1}, True),
        ("paused", {"copying": 1}, True),
        ("held", {"copying": 1}, False),
    ],
)
def test_a_paused_batch_is_followed_until_what_was_paid_for_is_there(
    state: str, jobs: dict[str, int], goes_on: bool
) -> None:
    assert is_coming_to_rest({"state": state, "jobs": dict.fromkeys(JobState, 0) | jobs}) is goes_on
