"""What is learned of how long jobs take: by kind, from the newest, with what the provider tells where it does."""

import pytest

from orchestrator.engine.poll_times import LOOK_AGAIN_SECONDS, PollTimes, done_seconds
from orchestrator.store.durations import JobKind, Seen

FILM_5, FILM_10, IMAGE = JobKind("film", "5"), JobKind("film", "10"), JobKind("image")


def stopped_clock() -> float:
    return 0.0


def jobs(kind: JobKind, seconds: float, *, count: int = 5, told: float | None = None) -> list[Seen]:
    return [Seen(kind, seconds, 3, told) for _ in range(count)]


def test_it_is_looked_once_in_a_while() -> None:
    clock = [100.0]
    times = PollTimes(lambda: clock[0])
    assert [times.is_old(), times.is_old()] == [True, False]
    clock[0] += LOOK_AGAIN_SECONDS
    assert [times.is_old(), times.is_old()] == [True, False]


def test_a_length_is_known_by_itself_or_by_its_model() -> None:
    times = PollTimes(stopped_clock)
    times.learn([*jobs(FILM_5, 20), *jobs(FILM_10, 40, count=4), *jobs(IMAGE, 5, count=4)])
    five, ten = times.of(FILM_5), times.of(FILM_10)
    assert five is not None
    assert ten is not None
    assert five.last_seconds == pytest.approx(20 * 0.95 * 1.5)
    assert ten.last_seconds == pytest.approx(40 * 0.95 * 1.5)  # of all lengths: four are too few
    assert times.of(IMAGE) is None


def test_what_is_not_seen_again_is_kept() -> None:
    times = PollTimes(stopped_clock)
    times.learn(jobs(IMAGE, 5))
    times.learn(jobs(FILM_5, 20))
    assert times.of(IMAGE) is not None


def test_the_newest_count() -> None:
    times = PollTimes(stopped_clock)
    times.learn([*jobs(IMAGE, 10, count=100), *jobs(IMAGE, 500)])
    known = times.of(IMAGE)
    assert known is not None
    assert known.last_seconds < 20


def test_the_providers_word_with_its_queue_and_never_later_than_seen() -> None:
    told = [Seen(IMAGE, seen, 3, 10.0) for seen in (12.0, 13.0, 14.0)] + [Seen(IMAGE, 15.0, 3, 14.5)]
    assert done_seconds(told) == pytest.approx([10.5, 10.5, 10.5, 15.0])


def test_without_its_word_half_of_the_time_up_to_the_first_poll() -> None:
    assert done_seconds([Seen(IMAGE, 10, 1, None), Seen(IMAGE, 10, 2, None)]) == pytest.approx([5, 9.5])
