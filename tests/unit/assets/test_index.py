"""The index is stable, complete and harmless to open."""

import csv
import io
import json
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

from orchestrator.assets.index import IndexRow, index_documents, is_of_sandbox

ROW = IndexRow(
    job="mug",
    index=0,
    type="image",
    model="gpt-image-2",
    prompt='A "mug",\nred',
    uri="s3://shop/spring/mug/0-1f9c2b7e.png",
    key="spring/mug/0-1f9c2b7e.png",
    sha256="1f9c2b7e" + "0" * 56,
    bytes=183422,
    mime_type="image/png",
    width=1024,
    height=1024,
    duration_seconds=None,
    credits=Decimal("14.0"),
    usdc=None,
    request_id="0f3f0ab9-2d2c-4d99-a7cc-76cf82735246",
    completed_at=datetime(2026, 11, 22, 1, 0, 31, tzinfo=UTC),
    labels={"shop": "berlin", "line": "a"},
    tags=({"tag": "ceramic_mug", "confidence": 0.94}, {"tag": "table", "confidence": 0.81}),
)


def table(rows: list[IndexRow]) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(index_documents("spring", rows, sandbox=False)[1].decode(), newline="")))


def test_what_usdc_paid_for_cost_no_credits() -> None:
    paid = replace(ROW, credits=None, usdc=Decimal("0.019538"))
    (asset,) = json.loads(index_documents("spring", [paid], sandbox=False)[0])["assets"]
    assert (asset["credits"], asset["usdc"]) == (None, "0.019538")
    assert (table([paid])[0]["credits"], table([paid])[0]["usdc"]) == ("", "0.019538")


def test_json_holds_every_fact() -> None:
    document = json.loads(index_documents("spring", [ROW], sandbox=False)[0])
    assert document["collection"] == "spring"
    (asset,) = document["assets"]
    assert asset["credits"] == "14"
    assert asset["completed_at"] == "2026-11-22T01:00:31Z"
    assert asset["tags"] == [{"tag": "ceramic_mug", "confidence": 0.94}, {"tag": "table", "confidence": 0.81}]
    assert asset["labels"] == {"line": "a", "shop": "berlin"}
    assert asset["bytes"] == 183422
    assert asset["prompt"] == 'A "mug",\nred'


def test_csv_holds_every_fact() -> None:
    (row,) = table([ROW])
    assert row["prompt"] == 'A "mug",\nred'
    assert row["labels"] == "line=a; shop=berlin"
    assert row["tags"] == "ceramic_mug; table"
    assert row["duration_seconds"] == ""
    assert row["credits"] == "14"


def test_the_order_of_rows_does_not_matter() -> None:
    rows = [ROW, replace(ROW, index=1), replace(ROW, job="cup")]
    assert index_documents("spring", rows, sandbox=False) == index_documents("spring", reversed(rows), sandbox=False)


def test_no_cell_is_a_formula() -> None:
    for start in "=+-@\t\r\n":
        prompt = f'{start}HYPERLINK("https://x")'
        assert table([replace(ROW, prompt=prompt, labels={f"{start}a": "b"}, job=prompt)])[0]["prompt"][0] == "'"


def test_text_that_is_no_unicode_does_not_stop_the_index() -> None:
    assert b"?" in index_documents("spring", [replace(ROW, prompt="\ud800\0")], sandbox=False)[1]


def test_an_empty_collection_has_an_index_too() -> None:
    document, text = index_documents("spring", [], sandbox=False)
    assert json.loads(document) == {"collection": "spring", "sandbox": False, "assets": []}
    assert text.startswith(b"job,index,type,model,prompt,")


def test_what_cost_nothing_says_so() -> None:
    document, text = index_documents("spring", [ROW], sandbox=True)
    assert json.loads(document)["sandbox"] is True
    (row,) = csv.DictReader(io.StringIO(text.decode(), newline=""))
    assert row["sandbox"] == "true"
    assert table([ROW])[0]["sandbox"] == "false"


def test_only_a_sandbox_index_is_taken_for_one() -> None:
    assert is_of_sandbox(index_documents("spring", [ROW], sandbox=True)[0])
    for other in (index_documents("spring", [ROW], sandbox=False)[0], b"", b"\xff", b"[]", b'{"assets": []}'):
        assert not is_of_sandbox(other)
