"""When to look depends on when others were done, within bounds that hold whatever was seen."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.engine.inspection import LEAST_TIMES, DoneTimes

SECONDS = st.lists(st.floats(min_value=0, max_value=1e6), min_size=LEAST_TIMES, max_size=30)
GAPS = st.floats(min_value=0.05, max_value=300)
AROUND_A_MINUTE = [60 + each / 10 for each in range(-20, 21)]


def looks(times: DoneTimes, gap: float) -> list[float]:
    """The ages at which what is never done is looked at, as far as anything is known."""
    found = [0.0]
    while found[-1] < times.last_seconds:
        found.append(found[-1] + times.wait_seconds(found[-1], at_least=gap))
    return found[1:]


@given(SECONDS, st.floats(min_value=-10, max_value=1e7), GAPS)
def test_never_sooner_than_asked_and_never_far_beyond_what_was_seen(
    seconds: list[float], age: float, gap: float
) -> None:
    times = DoneTimes(seconds)
    wait = times.wait_seconds(age, at_least=gap)
    assert wait >= gap * (1 - 1e-9)
    assert max(age, 0) + wait <= max(times.last_seconds, max(age, 0) + gap) * (1 + 1e-9)


def test_nothing_is_asked_before_anything_can_be_done_and_often_while_most_are() -> None:
    first, *rest = looks(DoneTimes(AROUND_A_MINUTE), 0.5)
    assert 38 < first < 59
    assert sum(58 <= look <= 63 for look in rest) >= 4


def test_between_two_modes_hardly_anything_is_asked() -> None:
    times = DoneTimes([4.5 + each / 10 for each in range(10)] + [60 + each / 10 for each in range(10)])
    assert sum(8 < look < 55 for look in looks(times, 0.1)) <= 12
    assert any(4 <= look <= 7 for look in looks(times, 0.1))


def test_cheaper_polls_are_more_polls() -> None:
    counts = [len(looks(DoneTimes(AROUND_A_MINUTE, poll_cost=cost), 0.05)) for cost in (0.1, 0.01, 0.001, 0.0001)]
    assert all(dear <= cheap for dear, cheap in pairwise(counts))
    assert counts[0] < counts[-1]


def test_twice_the_time_is_twice_the_wait() -> None:
    once = looks(DoneTimes(AROUND_A_MINUTE), 1)
    twice = looks(DoneTimes([2 * each for each in AROUND_A_MINUTE]), 2)
    assert [round(2 * look, 6) for look in once] == [round(look, 6) for look in twice]
