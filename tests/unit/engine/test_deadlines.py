"""Which copies are late, and when the spool runs over."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.engine.deadlines import SHARE_OF_TIME, CopyPace, Due, count_late, overflows

HOUR = 3600.0


@pytest.mark.parametrize(
    ("backlog", "jobs_per_second", "late"),
    [
        ([], 1.0, 0),
        ([Due(72 * HOUR, 100_000)], 1.0, 0),
        ([Due(72 * HOUR, 200_000)], 1.0, 200_000 - 36 * 3600),
        ([Due(HOUR, 1800)], 1.0, 0),  # half the time that is left
        ([Due(HOUR, 1801)], 1.0, 1),
        ([Due(-HOUR, 3), Due(HOUR, 1)], 1.0, 3),
        ([Due(2 * HOUR, 1800), Due(HOUR, 1800)], 1.0, 0),
        ([Due(HOUR, 1800), Due(HOUR + 60, 100)], 1.0, 70),  # those that expire first are stored first
        ([Due(HOUR, 5)], 0.0, 5),
    ],
)
def test_what_is_late(backlog: list[Due], jobs_per_second: float, late: int) -> None:
    assert count_late(backlog, jobs_per_second) == late


DUES = st.lists(st.builds(Due, st.floats(-1000, 300_000), st.integers(1, 1000)), max_size=20)


@given(DUES, st.floats(0.001, 100))
def test_faster_copies_are_never_later(backlog: list[Due], rate: float) -> None:
    assert 0 <= count_late(backlog, 2 * rate) <= count_late(backlog, rate) <= sum(due.jobs for due in backlog)


@given(DUES, st.floats(0.01, 100))
def test_nothing_is_late_exactly_where_each_copy_is_done_in_time(backlog: list[Due], rate: float) -> None:
    done = 0
    in_time = True
    for due in sorted(backlog, key=lambda due: due.in_seconds):
        done += due.jobs
        in_time = in_time and done <= int(max(due.in_seconds, 0) * SHARE_OF_TIME * rate)
    assert (count_late(backlog, rate) == 0) == in_time


def test_the_spool_has_to_take_what_comes() -> None:
    assert not overflows(spool_bytes=10, cap_bytes=100, jobs=8, bytes_per_job=10)
    assert overflows(spool_bytes=20, cap_bytes=100, jobs=8, bytes_per_job=10)
    assert overflows(spool_bytes=100, cap_bytes=100, jobs=0, bytes_per_job=0)


def test_the_pace_is_told_once_enough_was_seen_and_follows_change() -> None:
    pace = CopyPace(slots=8)
    for _ in range(5):
        assert pace.jobs_per_second is None
        pace.note(seconds=2, size_bytes=1000)
    assert pace.jobs_per_second == pytest.approx(4)
    assert pace.bytes_per_job == pytest.approx(1000)
    for _ in range(100):
        pace.note(seconds=20, size_bytes=5000)
    assert pace.jobs_per_second == pytest.approx(0.4, rel=0.01)
    assert pace.bytes_per_job == pytest.approx(5000, rel=0.01)
