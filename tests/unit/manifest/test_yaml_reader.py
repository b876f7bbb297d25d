"""YAML is read as YAML 1.2 core, with places, within bounds."""

import json
from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.base.diagnostics import Code
from orchestrator.manifest.core_schema import resolve
from orchestrator.manifest.findings import Findings
from orchestrator.manifest.nodes import Mapping, Scalar, Sequence, plain
from orchestrator.manifest.syntax import SyntaxFault
from orchestrator.manifest.yaml_reader import read_yaml


def read(text: str) -> Any:
    findings = Findings("t.yaml")
    node = read_yaml(text, findings)
    assert findings.errors == []
    return plain(node, {})


@pytest.mark.parametrize(
    "text", ["16:9", "1:1", "no", "yes", "on", "2026-05-20", "1_000", "0b11", "0x", "1e", ".", "-", "TRUe", "=", "<<"]
)
def test_text_that_yaml_1_1_would_turn_into_something_else(text: str) -> None:
    assert resolve(text) == text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("012", 12),
        ("0o14", 12),
        ("0x1F", 31),
        ("+5", 5),
        ("-0", 0),
        ("2.60", Decimal("2.60")),
        ("1e3", Decimal(1000)),
        (".5", Decimal("0.5")),
        ("5.", Decimal(5)),
        ("-.inf", Decimal("-Infinity")),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("Null", None),
    ],
)
def test_core_schema(text: str, value: object) -> None:
    found = resolve(text)
    assert found == value
    assert type(found) is type(value)


@given(st.decimals(allow_nan=False, allow_infinity=False, places=6).map(str))
def test_fractions_are_exact(text: str) -> None:
    assert read(f"a: {text}") == {"a": float(text)}
    assert resolve(text) == Decimal(text)


_TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cn", "Cs", "Zl", "Zp"], exclude_characters="\ufeff")
)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | _TEXT,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=4),
        max_leaves=20,
    )
)
def test_what_json_writes_is_yaml(data: object) -> None:
    assert read(json.dumps(data, ensure_ascii=False)) == data


def test_places_are_one_based_and_count_characters() -> None:
    node = read_yaml('é😀: {k: "v"}\nlist:\n  - a\n  - 😀😀: c\n', Findings("t"))
    assert isinstance(node, Mapping)
    inner = node.entries["é😀"].value
    assert isinstance(inner, Mapping)
    assert (inner.line, inner.column) == (1, 5)
    assert inner.entries["k"].value == Scalar("v", 1, 9)
    listed = node.entries["list"].value
    assert isinstance(listed, Sequence)
    assert isinstance(listed.items[1], Mapping)
    assert listed.items[1].entries["😀😀"].value == Scalar("c", 4, 9)


def test_merge_keys() -> None:
    text = "a: &a {x: 1, y: 1}\nb: &b {x: 2, z: 2}\nc: {y: 3, <<: [*a, *b]}\nd: {'<<': 4}\n"
    assert read(text) | {"a": 0, "b": 0} == {"a": 0, "b": 0, "c": {"y": 3, "x": 1, "z": 2}, "d": {"<<": 4}}


def test_an_alias_stands_where_its_anchor_is() -> None:
    node = read_yaml("a: &x hello\nb: *x\n", Findings("t"))
    assert isinstance(node, Mapping)
    assert node.entries["b"].value == Scalar("hello", 1, 4)


def test_duplicate_keys_are_reported_at_the_second_and_reading_goes_on() -> None:
    findings = Findings("t")
    node = read_yaml("a: 1\nb: {c: 1, 'c': 2}\na: 3\n", findings)
    assert [(error.code, error.line, error.column) for error in findings.errors] == [
        (Code.YAML_SYNTAX, 2, 11),
        (Code.YAML_SYNTAX, 3, 1),
    ]
    assert plain(node, {}) == {"a": 1, "b": {"c": 1}}


@pytest.mark.parametrize(
    ("text", "line", "column", "words"),
    [
        ("a:\n\tb: 1", 2, 1, "a tab cannot indent"),
        ("a: @x", 1, 4, "`@` cannot begin a value"),
        ("a: [1\nb: 2", 2, 2, "did not find expected"),
        ("a: 1\n---\nb: 1", 2, 1, "one YAML document"),
        ("a: !x 1", 1, 4, "tag"),
        ("a: !!int x", 1, 4, "!!int"),
        ("a: !x {}", 1, 4, "tag"),
        ("a: *b", 1, 4, "no anchor"),
        ("a: &a [*a]", 1, 8, "contains itself"),
        ("a: {{ b }}", 1, 5, "quotes"),
        ("é: '\a'", 1, 5, "U+0007"),
        ("<<: 5\n", 1, 1, "takes a mapping"),
        ("a: 1\rb: @x", 2, 4, "`@` cannot begin a value"),
        ("a: 1\r\nb: @x", 2, 4, "`@` cannot begin a value"),
        ("a: '\x85\u2028\u2029'\nb: @x", 2, 4, "`@` cannot begin a value"),
        ("[" * 100_000, 1, 65, "levels deep"),
        ("- " * 100_000, 1, 129, "levels deep"),
        ("{a: " * 100_000, 1, 257, "levels deep"),
    ],
)
def test_faults_have_a_place(text: str, line: int, column: int, words: str) -> None:
    with pytest.raises(SyntaxFault) as caught:
        read_yaml(text, Findings("t"))
    assert (caught.value.line, caught.value.column) == (line, column)
    assert words in caught.value.message


def test_tags_say_what_a_scalar_is() -> None:
    assert read("[! 5, !!str 5, !!int '5', !!str no]") == ["5", "5", 5, "no"]


def test_only_yaml_1_1_takes_these_for_line_breaks() -> None:
    text = "# \x85 \u2028 \ue000\nplain: x\x85y\nquoted: 'x\u2028 y'\nk\u2029y: \"\\L\"\n"
    assert read(text) == {"plain": "x\x85y", "quoted": "x\u2028 y", "k\u2029y": "\u2028"}


def test_alias_bombs_are_bounded() -> None:
    levels = "".join(f"x{i}: &x{i} [{', '.join([f'*x{i - 1}'] * 10)}]\n" for i in range(1, 10))
    with pytest.raises(SyntaxFault, match="aliases expand"):
        read_yaml("x0: &x0 [1]\n" + levels, Findings("t"))


@given(st.text(alphabet="ab:-[]{}&*!|>'\"#%@`,?~ \n\r\t\x85\u20280.1é", max_size=60))
def test_no_text_crashes_the_reader(text: str) -> None:
    with suppress(SyntaxFault):
        read_yaml(text, Findings("t"))
