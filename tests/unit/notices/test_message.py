"""Notifications as requests: signed as Standard Webhooks wants it, and in words that Slack shows as they are."""

import base64
import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from orchestrator.base.notices import NoticeEvent, NoticeStyle, host_of
from orchestrator.notices.message import Notice, message_of, signature, text_of

AT = datetime(2026, 11, 22, 2, 0, 0, tzinfo=UTC)
ID = UUID("018f7f0e-0000-4000-8000-000000000001")
KEY = bytes(range(32))
BATCH = {"batch": "mugs-20261122-7f3a", "name": "mugs", "sandbox": False}
FINISHED = BATCH | {
    "state": "partial_failure",
    "jobs": {"total": 3, "completed": 2},
    "credits": {"spent": "28", "estimated": "42", "budget": None},
}
HELD = BATCH | {
    "hold": {"code": "gate", "since": "2026-11-22T02:00:00Z", "message": "look at it", "command": "orchestrator x"}
}
LIMIT = BATCH | {"limit": {"kind": "daily", "unit": "usd", "amount": "10", "used": "8.5"}}
EXPIRING = BATCH | {"waiting": 4, "first_expires_at": "2026-11-22T05:00:00Z"}
FAILED = {"schedule": "nightly", "slot": "2026-11-22T01:00:00Z", "message": "the manifest is broken"}


def notice(style: NoticeStyle, event: str = NoticeEvent.FINISHED, facts: dict[str, Any] = FINISHED) -> Notice:
    return Notice(ID, "https://hooks.example/T0/secret", style, event, facts, AT)


def test_the_signature_is_that_of_standard_webhooks() -> None:
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")  # the example of its specification
    signed = signature("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}', key)
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_webhook_is_a_signed_document_of_the_event() -> None:
    message = message_of(notice(NoticeStyle.WEBHOOK), AT, KEY)
    assert message.method == "POST"
    assert json.loads(message.content) == {"type": "finished", "timestamp": "2026-11-22T02:00:00Z", "data": FINISHED}
    timestamp = int(AT.timestamp())
    assert message.headers == {
        "Content-Type": "application/json",
        "webhook-id": str(ID),
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature(str(ID), timestamp, message.content, KEY),
    }


def test_without_a_secret_nothing_is_signed() -> None:
    assert "webhook-signature" not in message_of(notice(NoticeStyle.WEBHOOK), AT, None).headers


def test_a_heartbeat_is_an_empty_get() -> None:
    message = message_of(notice(NoticeStyle.HEARTBEAT, "heartbeat", {}), AT, KEY)
    assert (message.method, message.headers, message.content) == ("GET", {}, b"")


@pytest.mark.parametrize(
    ("event", "facts", "text"),
    [
        (NoticeEvent.FINISHED, FINISHED, "mugs-20261122-7f3a: partial failure, 2 of 3 jobs, 28 credits spent"),
        (NoticeEvent.HELD, HELD, "mugs-20261122-7f3a: look at it (orchestrator x)"),
        (NoticeEvent.BUDGET, LIMIT, "mugs-20261122-7f3a: 8.5 of 10 usd of the daily cap are used"),
        (
            NoticeEvent.EXPIRING,
            EXPIRING,
            (
                "mugs-20261122-7f3a: the files of 4 finished job(s) are not stored yet, "
                "the first expires at 2026-11-22T05:00:00Z"
            ),
        ),
        (NoticeEvent.SCHEDULE_FAILED, FAILED, "nightly: no run at 2026-11-22T01:00:00Z: the manifest is broken"),
    ],
)
def test_slack_gets_one_line(event: NoticeEvent, facts: dict[str, Any], text: str) -> None:
    message = message_of(notice(NoticeStyle.SLACK, event, facts), AT, KEY)
    assert json.loads(message.content) == {"text": text}


def test_a_sandbox_says_that_it_is_one_and_nobody_is_called_by_a_message() -> None:
    text = text_of(NoticeEvent.SCHEDULE_FAILED, FAILED | {"sandbox": True, "message": "<!channel> & more"})
    assert text == "[sandbox] nightly: no run at 2026-11-22T01:00:00Z: &lt;!channel&gt; &amp; more"


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://hooks.example/T0/secret?key=secret", "hooks.example"),
        ("https://user:secret@hooks.example:8443/", "hooks.example"),
        ("https://[secret/", "no host"),
        ("secret", "no host"),
    ],
)
def test_only_the_host_is_shown(url: str, host: str) -> None:
    assert host_of(url) == host
