"""JSON is read like the standard reader reads it, with places."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.base.diagnostics import Code
from orchestrator.manifest.findings import Findings
from orchestrator.manifest.json_reader import read_json
from orchestrator.manifest.nodes import Mapping, Scalar, plain
from orchestrator.manifest.syntax import SyntaxFault

DATA = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(DATA, st.sampled_from([None, 1, "\t"]), st.booleans())
def test_reads_what_json_writes(data: object, indent: int | str | None, ascii_only: bool) -> None:
    text = json.dumps(data, indent=indent, ensure_ascii=ascii_only)
    assert plain(read_json(text, Findings("t")), {}) == data


@given(st.text(alphabet='{}[]",:0123.eE+- \n\ttruefalsn\\u', max_size=40))
def test_agrees_with_the_standard_reader_on_what_is_json(text: str) -> None:
    findings = Findings("t")
    try:
        read_json(text, findings)
        accepted = True
    except SyntaxFault:
        accepted = False
    try:
        json.loads(text)
        expected = True
    except ValueError:
        expected = False
    assert accepted == expected


def test_places() -> None:
    node = read_json('{"é": 1,\n\t"b": "x"}', Findings("t"))
    assert isinstance(node, Mapping)
    assert node.entries["b"] == (Scalar("b", 2, 2), Scalar("x", 2, 7))


def test_duplicate_keys() -> None:
    findings = Findings("t")
    read_json('{"a": 1,\n "a": 2}', findings)
    assert [(error.code, error.line, error.column) for error in findings.errors] == [(Code.YAML_SYNTAX, 2, 2)]


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", "{'a': 1}", "[1,]", "", "[1] 2", '"\n"', "01", "[" * 1000])
def test_what_json_is_not(text: str) -> None:
    with pytest.raises(SyntaxFault):
        read_json(text, Findings("t"))
