"""What cannot be sent is told in words that show no more of a URL than its host."""

from datetime import UTC, datetime
from uuid import UUID

import pytest

from orchestrator.base.notices import NoticeStyle, may_be_sent_to
from orchestrator.notices.client import NoticeClient
from orchestrator.notices.message import Notice


def notice(url: str) -> Notice:
    facts = {"schedule": "nightly", "slot": "", "message": ""}
    return Notice(UUID(int=1), url, NoticeStyle.SLACK, "schedule-failed", facts, datetime(2026, 11, 22, tzinfo=UTC))


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1/hidden",
        "https://127.0.0.1:1/hidden?key=hidden",
        "https://hidden:hidden@nowhere.invalid/hidden",
        f"https://{'a' * 70}.invalid/hidden",
        "https://a..invalid/hidden",
        "https://127.0.0.1:1/\x7fhidden",
    ],
)
async def test_no_failure_shows_a_url(url: str) -> None:
    outcome = await NoticeClient(None).send(notice(url))
    assert outcome.problem
    assert "hidden" not in outcome.problem
    assert not outcome.is_final


@pytest.mark.parametrize(
    ("url", "is_good"),
    [
        ("https://hooks.example/a", True),
        ("http://127.0.0.1:8000/a", True),
        ("http://localhost/a", True),
        ("http://hooks.example/a", False),
        ("http://127.0.0.1.nip.example/a", False),
        ("ftp://127.0.0.1/a", False),
        ("https://", False),
        ("https://hooks.example:99999/", False),
        ("https://[::1/", False),
        ("hooks.example", False),
        ("https://hooks.example/" + 1978 * "a", True),
        ("https://hooks.example/" + 1979 * "a", False),
    ],
)
def test_only_what_is_encrypted_or_stays_here_is_sent(url: str, is_good: bool) -> None:
    assert may_be_sent_to(url) is is_good
