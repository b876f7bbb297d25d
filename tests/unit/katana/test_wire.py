"""The provider's JSON, whole and in every broken form: reading it never raises."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.katana.problem import read_problem
from orchestrator.katana.wire import build_body, parse_answer, parse_object

FIELDS = [
    "request_id", "status", "responses", "poll_after_seconds", "metadata", "error", "job_id", "type", "output_assets",
    "kind", "mime_type", "url", "original_data_url", "expires_at", "tags", "credits_spent", "code", "message", "detail",
    "started_at", "completed_at",
]  # fmt: skip
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["1e999999", "NaN", "-1"])
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(FIELDS) | st.text(), inner, max_size=6),
    max_leaves=25,
)


@given(st.binary())
def test_any_bytes_are_an_answer_or_none(body: bytes) -> None:
    parse_answer(body)


@given(st.dictionaries(st.sampled_from(FIELDS) | st.text(), JSON))
def test_any_object_is_an_answer(document: dict[str, Any]) -> None:
    """With a readable request id it must be one: a field that is odd costs that field only."""
    body = json.dumps(document | {"request_id": "r-1"}).encode()
    answer = parse_answer(body)
    assert answer is not None
    assert answer.request_id == "r-1"
    json.dumps([tag for item in answer.responses for asset in item.output_assets for tag in asset.metadata.tags])
    read_problem(answer.error)


@pytest.mark.parametrize("depth", [10, 200, 300, 400, 450, 480, 490, 500, 700, 900, 990, 5000])
@pytest.mark.parametrize(("opening", "closing"), [('{"error":', "}"), ("[", "]"), ('{"detail":[', "]}")])
def test_deep_nesting_never_raises(depth: int, opening: str, closing: str) -> None:
    body = ('{"request_id":"r","error":' + opening * depth + "1" + closing * depth + "}").encode()
    read_problem(parse_object(body))
    parse_answer(body)


@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b'"x"', b"{", b"<html>", b"\xff\xfe{}", b'{"a":' + b"9" * 5000 + b"}"]
)
def test_what_is_no_object_is_none(body: bytes) -> None:
    assert parse_object(body) is None


def test_an_odd_item_leaves_the_others_at_their_places() -> None:
    answer = parse_answer(b'{"request_id": "r", "responses": [null, {"status": " Completed "}, "x"]}')
    assert answer is not None
    assert [item.status for item in answer.responses] == [None, "completed", None]


def test_what_no_database_can_hold_is_taken_out() -> None:
    document = parse_object(rb'{"a": "x\u0000y\ud800", "b": [NaN, Infinity, -1e999, 1.5], "c\u0000": 1}')
    assert document == {"a": "xy?", "b": [None, None, None, 1.5], "c": 1}


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        ("3.5", Decimal("3.5")), (3, Decimal(3)), (3.5, Decimal("3.5")), ("0", Decimal(0)),
        ("-1", None), ("nan", None), (True, None), ([], None), ("1e30", None), ("1e999999999", None), ("", None),
    ],
)  # fmt: skip
def test_amounts(given_: object, expected: Decimal | None) -> None:
    answer = parse_answer(json.dumps({"metadata": {"credits_spent": given_}}).encode())
    assert answer is not None
    assert answer.metadata.credits_spent == expected


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        ("2026-05-20T10:00:00+00:00", datetime(2026, 5, 20, 10, tzinfo=UTC)),
        ("2026-05-20T10:00:00Z", datetime(2026, 5, 20, 10, tzinfo=UTC)),
        ("2026-05-20T12:00:00+02:00", datetime(2026, 5, 20, 10, tzinfo=UTC)),
        ("2026-05-20T10:00:00", datetime(2026, 5, 20, 10, tzinfo=UTC)),
        ("0001-01-01T00:00:00+14:00", None),
        ("9999-12-31T23:59:59-14:00", None),
        ("tomorrow", None),
        (1779271200, None),
    ],
)
def test_instants(given_: object, expected: datetime | None) -> None:
    document = {"responses": [{"output_assets": [{"expires_at": given_}]}]}
    answer = parse_answer(json.dumps(document).encode())
    assert answer is not None
    expires_at = answer.responses[0].output_assets[0].expires_at
    assert expires_at == expected
    assert expires_at is None or expires_at.utcoffset() == timedelta(0)


@pytest.mark.parametrize("request_id", ["", "  ", None, 7, "x" * 501])
def test_what_is_no_request_id(request_id: object) -> None:
    answer = parse_answer(json.dumps({"request_id": request_id}).encode())
    assert answer is not None
    assert answer.request_id is None


def test_the_original_is_preferred_and_an_empty_url_is_absent() -> None:
    assets = [{"url": "u", "original_data_url": "o"}, {"url": "u", "original_data_url": ""}, {"url": " "}]
    answer = parse_answer(json.dumps({"responses": [{"output_assets": assets}]}).encode())
    assert answer is not None
    assert [asset.source for asset in answer.responses[0].output_assets] == ["o", "u", None]


@given(st.lists(st.dictionaries(st.text(), JSON.filter(lambda value: "nan" not in repr(value).lower()), max_size=3)))
def test_the_same_items_make_the_same_bytes(items: list[dict[str, Any]]) -> None:
    try:
        body = build_body(items)
    except ValueError:  # infinities and lone surrogates: refused rather than sent
        return
    shuffled = [dict(reversed(item.items())) for item in items]
    assert build_body(shuffled) == body
    assert build_body(json.loads(body)["requests"]) == body


@pytest.mark.parametrize(
    ("started_at", "completed_at", "seconds"),
    [
        ("2026-05-13T12:59:16+00:00", "2026-05-13T13:00:02+00:00", 46),
        ("2026-05-13T12:59:16+00:00", "2026-05-13T12:59:16+00:00", None),
        ("2026-05-13T12:59:16+00:00", "2026-05-13T12:59:15+00:00", None),
        (None, "2026-05-13T13:00:02+00:00", None),
        ("2026-05-13T12:59:16+00:00", 5, None),
    ],
)
def test_how_long_an_item_was_worked_on(started_at: object, completed_at: object, seconds: float | None) -> None:
    item = {"status": "completed", "started_at": started_at, "completed_at": completed_at}
    answer = parse_answer(json.dumps({"request_id": "r-1", "responses": [item]}).encode())
    assert answer is not None
    assert answer.responses[0].generation_seconds == seconds
