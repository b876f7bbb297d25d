"""What is told of the time that a batch still takes."""

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.operations.eta import Remaining, remaining
from orchestrator.store.pulse import Typical
from orchestrator.store.totals import ModelWork

MODELS = ("gen", "film")
numbers = st.integers(0, 200_000)
works = st.tuples(*(st.builds(ModelWork, st.just(model), numbers, st.integers(0, 64)) for model in MODELS))
seconds = st.floats(0, 100_000, allow_nan=False)
typicals = st.fixed_dictionaries({model: st.builds(Typical, st.just(9), seconds, seconds) for model in MODELS})
at_once = st.integers(1, 1000)
rates = st.none() | st.floats(0.2, 10_000)


@given(works, typicals, at_once, rates)
def test_it_is_never_over_before_now(
    work: tuple[ModelWork, ...], typical: dict[str, Typical], places: int, rate: float | None
) -> None:
    rest = remaining(work, typical, at_once=places, per_minute=rate)
    assert rest is not None
    assert 0 <= rest.least_seconds <= rest.most_seconds


@given(works, typicals, at_once, rates, st.sampled_from(MODELS), st.integers(1, 1000))
def test_more_jobs_never_take_less_time(
    work: tuple[ModelWork, ...], typical: dict[str, Typical], places: int, rate: float | None, model: str, more: int
) -> None:
    added = tuple(ModelWork(each.model, each.unsent + more * (each.model == model), each.under_way) for each in work)
    less, rest = (remaining(each, typical, at_once=places, per_minute=rate) for each in (work, added))
    assert less is not None
    assert rest is not None
    assert less.least_seconds <= rest.least_seconds
    assert less.most_seconds <= rest.most_seconds


@given(works, typicals, at_once, at_once)
def test_more_places_never_take_more_time(
    work: tuple[ModelWork, ...], typical: dict[str, Typical], places: int, more: int
) -> None:
    few, many = remaining(work, typical, at_once=places), remaining(work, typical, at_once=places + more)
    assert few is not None
    assert many is not None
    assert many.most_seconds <= few.most_seconds


def test_what_nobody_has_seen_is_not_guessed() -> None:
    seen = {"gen": Typical(3, 20.0, 2.0)}
    assert remaining([ModelWork("gen", 5, 1), ModelWork("film", 1, 0)], seen, at_once=1) is None
    assert (
        remaining([ModelWork("gen", 5, 0)], seen, at_once=0) is None
    )  # nothing is under way: nobody knows how fast it is
    assert remaining([ModelWork("gen", 0, 0), ModelWork("film", 0, 0)], seen, at_once=0) == Remaining(0, 0)


def test_jobs_go_through_the_places_that_there_are() -> None:
    seen = {"gen": Typical(30, 20.0, 2.0)}
    rest = remaining([ModelWork("gen", 640, 64)], seen, at_once=64)
    assert rest is not None
    assert (rest.least_seconds, rest.most_seconds) == (
        170,
        252,
    )  # 200 s, 15 % less or more; the last one


def test_a_rate_that_says_otherwise_widens_the_range() -> None:
    seen = {"gen": Typical(30, 20.0, 2.0)}
    slow = remaining([ModelWork("gen", 640, 64)], seen, at_once=64, per_minute=96)  # 400 s by it
    assert slow is not None
    assert (slow.least_seconds, slow.most_seconds) == (170, 482)
