"""Slots of cron expressions, through the nights on which clocks change."""

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.base.cron import slots_after

BERLIN = "Europe/Berlin"
#: At 1:00 UTC of these days Berlin goes from +1 to +2 hours, and back.
SPRING, AUTUMN = datetime(2026, 3, 29, tzinfo=UTC), datetime(2026, 10, 25, tzinfo=UTC)


def slots(cron: str, after: datetime, count: int, tz: str = BERLIN) -> list[str]:
    return [f"{slot:%d %H:%M}" for slot in islice(slots_after(cron, tz, after), count)]


@pytest.mark.parametrize(
    ("cron", "after", "expected"),
    [
        ("0 2 * * *", SPRING - timedelta(days=1), ["28 01:00", "29 01:00", "30 00:00"]),
        ("30 2 * * *", SPRING, ["29 01:00", "30 00:30"]),
        ("0,30 2 * * *", SPRING, ["29 01:00", "30 00:00", "30 00:30"]),
        ("0 3 * * *", SPRING, ["29 01:00", "30 01:00"]),
        ("15 * * * *", SPRING, ["29 00:15", "29 01:15", "29 02:15"]),
        ("30 2 * * *", AUTUMN - timedelta(days=1), ["24 00:30", "25 00:30", "26 01:30"]),
        ("0 3 * * *", AUTUMN - timedelta(days=1), ["24 01:00", "25 02:00", "26 02:00"]),
        ("15 * * * *", AUTUMN, ["25 00:15", "25 01:15", "25 02:15"]),
    ],
)
def test_a_night_on_which_the_clocks_change_has_its_slot_once(cron: str, after: datetime, expected: list[str]) -> None:
    assert slots(cron, after, len(expected)) == expected


def test_in_the_hour_that_comes_twice_no_slot_is_given_again() -> None:
    second_time = AUTUMN + timedelta(hours=1, minutes=20)  # 2:20 for the second time
    assert slots("45 2 * * *", second_time, 1) == ["26 01:45"]


@pytest.mark.parametrize("cron", ["0 2 * * *", "30 2 * * 1-5", "*/20 1-4 * * *", "45 * * * *", "5,35 2,3 * * *"])
@given(minutes=st.integers(-3000, 3000), autumn=st.booleans())
def test_slots_only_go_forward_and_do_not_depend_on_where_one_starts(cron: str, minutes: int, autumn: bool) -> None:
    after = (AUTUMN if autumn else SPRING) + timedelta(minutes=minutes)
    found = list(islice(slots_after(cron, BERLIN, after), 12))
    assert all(one < other for one, other in pairwise([after, *found]))
    assert list(islice(slots_after(cron, BERLIN, found[0]), 11)) == found[1:]


@pytest.mark.parametrize(
    ("cron", "tz", "words"),
    [
        ("0 2 * *", BERLIN, "five fields"),
        ("@daily", BERLIN, "five fields"),
        ("0 0 2 * * *", BERLIN, "five fields"),
        ("61 2 * * *", BERLIN, "bad minute"),
        ("0 0 30 2 *", BERLIN, "bad day-of-month"),
        ("0 2 * * *", "Berlin", "not a time zone"),
        ("0 2 * * *", "../etc/passwd", "not a time zone"),
        ("0 2 * * *", "", "not a time zone"),
    ],
)
def test_what_means_nothing_is_said(cron: str, tz: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        slots_after(cron, tz, SPRING)


def test_leap_days_and_utc() -> None:
    found = slots_after("0 2 29 2 *", "UTC", datetime(2026, 1, 1, tzinfo=UTC))
    assert [slot.date().isoformat() for slot in islice(found, 2)] == ["2028-02-29", "2032-02-29"]
