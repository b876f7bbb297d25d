"""Waiting times have bounds, whatever the provider asks for."""

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.engine.inspection import LEAST_TIMES, DoneTimes
from orchestrator.engine.pacing import MAX_POLL_SECONDS, first_poll_seconds, next_poll_seconds, retry_seconds

ASKED = st.none() | st.floats(min_value=0, allow_nan=False)
LONGEST_SECONDS = 330


@given(asked=ASKED, age=st.floats(min_value=0, max_value=1e9))
def test_a_poll_waits_as_asked_and_longer_with_age_within_bounds(asked: float | None, age: float) -> None:
    seconds = next_poll_seconds(asked, age_seconds=age)
    assert 0.01 <= seconds <= LONGEST_SECONDS
    assert seconds >= min(asked if asked is not None else 2, 300)
    assert seconds >= min(age / 10, MAX_POLL_SECONDS)


@given(ASKED)
def test_the_first_poll_waits_as_asked(asked: float | None) -> None:
    assert 0.01 <= first_poll_seconds(asked) <= LONGEST_SECONDS


def test_the_clocks_may_disagree_a_little() -> None:
    assert next_poll_seconds(0, age_seconds=-5) >= 0.01


@given(st.integers(0, 10**9))
def test_tries_double_up_to_their_longest(failures: int) -> None:
    seconds = retry_seconds(failures, first=0.5, longest=60)
    expected = min(0.5 * 2 ** min(failures, 20), 60)
    assert expected <= seconds <= expected * 1.1


@given(
    asked=ASKED,
    age=st.floats(min_value=-10, max_value=1e6),
    seconds=st.lists(st.floats(min_value=0, max_value=1e5), min_size=LEAST_TIMES, max_size=20),
)
def test_what_was_learned_is_never_a_reason_to_ask_sooner(
    asked: float | None, age: float, seconds: list[float]
) -> None:
    wait = next_poll_seconds(asked, age_seconds=age, done_times=DoneTimes(seconds))
    assert min(2 if asked is None else max(asked, 0.01), 300) * (1 - 1e-9) <= wait <= LONGEST_SECONDS
