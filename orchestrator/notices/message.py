"""A notification as an HTTP request. Pure.

Webhooks follow Standard Webhooks: the id stays the same however often one is sent, the signature covers id, time and
body.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from orchestrator.base.clock import rfc3339
from orchestrator.base.money import unit_word
from orchestrator.base.notices import NoticeEvent, NoticeStyle

_JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True, slots=True)
class Notice:
    """What to tell to whom. `facts` are the `data` of a webhook; `event` is "" for a heartbeat."""

    id: UUID
    url: str
    style: NoticeStyle
    event: str
    facts: Mapping[str, Any]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Message:
    """A request, but for its URL."""

    method: str
    headers: dict[str, str]
    content: bytes


def message_of(notice: Notice, sent_at: datetime, signing_key: bytes | None) -> Message:
    """The request that carries a notice; a webhook is signed where there is a key."""
    match notice.style:
        case NoticeStyle.HEARTBEAT:
            return Message("GET", {}, b"")
        case NoticeStyle.SLACK:
            return Message("POST", _JSON, _json_bytes({"text": text_of(notice.event, notice.facts)}))
        case NoticeStyle.WEBHOOK:
            content = _json_bytes(
                {"type": notice.event, "timestamp": rfc3339(notice.created_at), "data": dict(notice.facts)}
            )
            return Message("POST", _JSON | _webhook_headers(str(notice.id), sent_at, content, signing_key), content)


def _json_bytes(document: dict[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False).encode()


def _webhook_headers(notice_id: str, sent_at: datetime, content: bytes, key: bytes | None) -> dict[str, str]:
    timestamp = int(sent_at.timestamp())
    headers = {"webhook-id": notice_id, "webhook-timestamp": str(timestamp)}
    return headers if key is None else headers | {"webhook-signature": signature(notice_id, timestamp, content, key)}


def signature(notice_id: str, timestamp: int, content: bytes, key: bytes) -> str:
    """The signature as Standard Webhooks defines it; `timestamp` in whole seconds."""
    digest = hmac.new(key, f"{notice_id}.{timestamp}.".encode() + content, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def text_of(event: str, facts: Mapping[str, Any]) -> str:
    """The notice in one line, with what Slack would take for mark-up made harmless."""
    text = _line(NoticeEvent(event), facts)
    if facts.get("sandbox"):
        text = f"[sandbox] {text}"
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _line(event: NoticeEvent, facts: Mapping[str, Any]) -> str:
    match event:
        case NoticeEvent.FINISHED:
            done, total = facts["jobs"]["completed"], facts["jobs"]["total"]
            state = str(facts["state"]).replace("_", " ")
            usdc = facts.get("usdc")
            spent = f"{facts['credits']['spent']} credits" if usdc is None else f"{usdc['spent']} USDC"
            return f"{facts['batch']}: {state}, {done} of {total} jobs, {spent} spent"
        case NoticeEvent.HELD:
            return f"{facts['batch']}: {facts['hold']['message']} ({facts['hold']['command']})"
        case NoticeEvent.BUDGET:
            limit = facts["limit"]
            name = "its budget" if limit["kind"] == "batch" else f"the {limit['kind']} cap"
            return (
                f"{facts['batch']}: {limit['used']} of {limit['amount']} {unit_word(limit['unit'])} of {name} are used"
            )
        case NoticeEvent.EXPIRING:
            return (
                f"{facts['batch']}: the files of {facts['waiting']} finished job(s) are not stored yet, "
                f"the first expires at {facts['first_expires_at']}"
            )
        case NoticeEvent.SCHEDULE_FAILED:
            return f"{facts['schedule']}: no run at {facts['slot']}: {facts['message']}"
