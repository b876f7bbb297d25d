"""What becomes of a text job by the answer that it got."""

import json
from decimal import Decimal
from typing import Any

import pytest

from orchestrator.base.states import JobState
from orchestrator.engine.text import CUT_LABEL, read_text
from orchestrator.katana.chat import parse_completion
from orchestrator.katana.verdict import Kind, Reply, judge
from orchestrator.store.polling import ItemOutcome

PRICE, CHARGE = Decimal(10), Decimal("0.4")
JSON_ITEM = {"response_format": {"type": "json_object"}}


def body(content: Any = "Hello", finish_reason: str = "stop", **message: Any) -> bytes:
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": content} | message,
        "finish_reason": finish_reason,
    }
    usage = {"total_tokens": 9, "imgnai": {"credits_charged": "0.4"}}
    return json.dumps({"id": "chatcmpl-1", "model": "m", "choices": [choice], "usage": usage}).encode()


def outcome(answer: bytes, item: dict[str, Any] | None = None, charge: Decimal | None = CHARGE) -> ItemOutcome:
    completion = parse_completion(answer)
    assert completion is not None
    return read_text(completion, item or {}, 0, PRICE, charge)


def test_a_text_is_its_own_file() -> None:
    found = outcome(body())
    (source,) = found.sources
    assert (found.state, found.spent, found.labels) == (JobState.COPYING, CHARGE, {})
    assert (source.content, source.declared_mime, source.url) == ("Hello", "text/plain; charset=utf-8", "")
    assert source.tags[0]["usage"]["total_tokens"] == 9


def test_a_charge_that_is_not_told_is_the_reserve() -> None:
    found = outcome(body(), charge=None)
    assert (found.spent, found.is_told) == (PRICE, False)


def test_parts_and_tool_calls_are_text_too() -> None:
    assert outcome(body([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}])).sources[0].content == "ab"
    (called,) = outcome(body(None, "tool_calls", tool_calls=[{"id": "1"}])).sources
    assert called.declared_mime == "application/json"
    assert json.loads(called.content or "") == [{"id": "1"}]


@pytest.mark.parametrize("text", ['{"a": 1}', "[]", '"x"'])
def test_what_is_to_be_json_and_is(text: str) -> None:
    assert outcome(body(text), JSON_ITEM).sources[0].declared_mime == "application/json"


@pytest.mark.parametrize(
    ("answer", "item", "code"),
    [
        (body('{"a": ', "length"), JSON_ITEM, "asset-corrupt"),
        (body("Sure! {}"), JSON_ITEM, "asset-corrupt"),
        (body(""), {}, "provider-failed"),
        (body(None), {}, "provider-failed"),
        (body("No.", "content_filter"), {}, "moderation"),
        (body(None, refusal="I cannot do that"), {}, "moderation"),
    ],
)
def test_what_is_no_result_was_paid_for_all_the_same(answer: bytes, item: dict[str, Any], code: str) -> None:
    found = outcome(answer, item)
    assert (found.state, found.spent, found.sources) == (JobState.FAILED, CHARGE, ())
    assert found.error is not None
    assert (found.error["code"], found.error["charged"]) == (code, True)


def test_a_cut_text_is_a_result_with_a_label() -> None:
    found = outcome(body("Hel", "length"))
    assert (found.state, found.labels) == (JobState.COPYING, CUT_LABEL)


def judged(reply: Reply, *, signed: bool = False) -> Any:
    return judge(sending_began=True, reply=reply, failure=None, signed=signed, is_chat=True)


def test_a_readable_text_is_final_also_for_a_signed_payment() -> None:
    for signed in (False, True):
        verdict = judged(Reply(200, {}, body()), signed=signed)
        assert verdict.kind is Kind.ACCEPTED
        assert verdict.answer.request_id == "chatcmpl-1"
        assert verdict.answer.metadata.credits_spent == CHARGE
        assert "Hello" not in json.dumps(verdict.document()), "a text may be private"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"{}",
        b"<html>",
        b'{"choices": []}',
        b'{"choices": null}',
        b'{"choices": [1]}',
        b'{"error": {"message": "x"}}',
    ],
)
def test_anything_else_in_its_place_is_doubt(answer: bytes) -> None:
    assert judged(Reply(200, {}, answer)).kind is Kind.UNKNOWN
    assert judged(Reply(200, {}, None, answer)).kind is Kind.UNKNOWN


def test_an_answer_without_an_id_gets_one() -> None:
    document = json.loads(body()) | {"id": None}
    verdict = judged(Reply(200, {}, json.dumps(document).encode()))
    assert verdict.answer.request_id.startswith("chat-")


@pytest.mark.parametrize(
    ("billing", "credits_charged", "usdc"),
    [
        ({"credits_charged": "0.3"}, "0.3", None),
        ({"credits_charged": 0.3}, "0.3", None),
        ({"credits_reserved": "10", "credits_refunded": "9.7"}, "0.3", None),
        ({"paid_usdc": "0.052", "wallet_balance_after_usdc": "1"}, None, "0.052"),
        ({}, None, None),
        (None, None, None),
        ("none", None, None),
        ({"credits_charged": "a lot"}, None, None),
    ],
)
def test_usage_tells_what_was_charged(billing: Any, credits_charged: str | None, usdc: str | None) -> None:
    document = json.loads(body()) | {"usage": {"imgnai": billing}}
    told = judged(Reply(200, {}, json.dumps(document).encode())).answer.metadata
    assert told.credits_spent == (None if credits_charged is None else Decimal(credits_charged))
    assert told.usdc_spent == (None if usdc is None else Decimal(usdc))
