"""`Retry-After` is read in either form, bounded, and never breaks anything."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.base.retry_after import MAX_RETRY_AFTER_SECONDS, retry_after_seconds


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None), ("", None), ("soon", None), ("3", 3), (" 3 ", 3), ("0.5", 0.5), ("-3", 0), ("nan", None),
        ("inf", MAX_RETRY_AFTER_SECONDS), ("86400", MAX_RETRY_AFTER_SECONDS),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0), ("Wed, 21 Oct 2015 07:28:00", 0), ("Wed, 21 Oct 2015 07:28:00 -0000", 0),
        ("Wed, 21 Oct 99999 07:28:00 GMT", None), (f"Wed, 21 Oct {'9' * 30} 07:28:00 GMT", None),
    ],
)  # fmt: skip
def test_both_forms(value: str | None, expected: float | None) -> None:
    assert retry_after_seconds(value) == expected


def test_a_date_ahead() -> None:
    at = datetime.now(UTC) + timedelta(seconds=30)
    seconds = retry_after_seconds(format_datetime(at, usegmt=True))
    assert seconds is not None
    assert 25 < seconds <= 30


@given(st.text())
def test_it_never_raises(value: str) -> None:
    seconds = retry_after_seconds(value)
    assert seconds is None or 0 <= seconds <= MAX_RETRY_AFTER_SECONDS
