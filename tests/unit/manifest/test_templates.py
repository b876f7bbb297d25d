"""Templates: names, attributes and filters, and nothing that could run, count or loop."""

from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.manifest.templates import FILTERS, MissingName, Scope, Template, TemplateFault, is_template

ROW = {"name": "Mug", "n": 5, "price": Decimal("2.50"), "new": True, "nil": None, "tags": ["a", "b"], "a": {"items": 1}}


def filled(text: str, **variables: Any) -> Any:
    return Template(text).fill(Scope(variables or ROW))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a {{ name }}!\n", "a Mug!\n"),
        ("{{ n }}", 5),
        ("{{ price }}", Decimal("2.50")),
        ("{{ new }}", True),
        ("{{ tags }}", ["a", "b"]),
        ("{{ nil }}", None),
        (" {{ n }} {{ price }} {{ new }}{{ nil }}", " 5 2.50 true"),
        ("{{ a.items }}", 1),
        ("{{ a['items'] }}", 1),
        ("{{ tags[1] }}", "b"),
        ("{{ tags | join(', ') }}", "a, b"),
        ("{{ name | upper | replace('U', 'O') }}", "MOG"),
        ("{{ size | default('large') }}", "large"),
        ("{{ a.size | d('large') }}", "large"),
        ("{#fff} {{ name }}", "{#fff} Mug"),
        ("{% raw %}{{ name }}{% endraw %}", "{{ name }}"),
        ("100 %} }}", "100 %} }}"),
    ],
)
def test_what_a_template_gives(text: str, value: object) -> None:
    found = filled(text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "text",
    [
        "{{ name" + " | replace('M', 'MMMMMMMMMM')" * 12 + " }}",
        "{{ name" + " | replace('', 'MMMMMMMMMM')" * 12 + " }}",
        "{{ name" + " | join('MMMMMMMMMM')" * 12 + " }}",
        "{{ tags" + " | join('MMMMMMMMMM')" * 12 + " }}",
        "{{ long }}" * 40,
    ],
)
def test_text_cannot_grow_without_end(text: str) -> None:
    with pytest.raises(TemplateFault, match="longer than 32 MiB"):
        filled(text, **ROW, long="x" * 1024**2)


def test_long_text_of_a_row_stays_as_it_is() -> None:
    long = "x" * 20 * 1024**2
    assert filled("{{ long | replace('y', 'yy') | trim }}", long=long) == long
    assert len(filled("data:,{{ long }}", long=long)) == len(long) + 6
    assert filled("{{ name | replace('u', 'o', 1) | replace('M', 'N', count=1) }}", name="Mumu") == "Nomu"
    assert filled("{{ rows | join(', ', attribute='n') }}", rows=[{"n": 1}, {"n": 2}]) == "1, 2"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{{ 1 + 1 }}", "arithmetic"),
        ("{{ -n }}", "arithmetic"),
        ("{{ name ~ n }}", "arithmetic"),
        ("{{ name() }}", "calls"),
        ("{{ name.upper() }}", "calls"),
        ("{{ n > 1 }}", "comparisons"),
        ("{{ n is defined }}", "tests"),
        ("{{ name if n else n }}", "conditions"),
        ("{{ tags[0:1] }}", "computed entries"),
        ("{{ 'text' }}", "constants"),
        ("{% for t in tags %}{{ t }}{% endfor %}", "loops"),
        ("{% if n %}{{ n }}{% endif %}", "conditions"),
        ("{% set x = n %}", "statements"),
        ("{{ tags[n] }}", "computed entries"),
        ("{{ [name] }}", "constants"),
        ("{{ name and n }}", "conditions"),
        ("{{ name | format(1) }}", "no filter `format`"),
        ("{{ name | default(n) }}", "constants only"),
        ("{{ name | default(*tags) }}", "constants only"),
        ("{{ self }}", "row['self']"),
        ("{{ name", "expected `}}`"),
        ("{{ }}", "cannot be read"),
        ("{{ " + "(" * 5000 + "name" + ")" * 5000 + " }}", "too deeply"),
    ],
)
def test_what_a_template_may_not_be(text: str, words: str) -> None:
    with pytest.raises(TemplateFault) as caught:
        Template(text)
    assert words in caught.value.message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{{ name.__class__ }}", "no entry `__class__`"),
        ("{{ name.upper }}", "no entry `upper`"),
        ("{{ a.b }}", "no entry `b`"),
        ("{{ a.b.c | default('x') }}", "no entry `b`"),
        ("{{ tags[2] }}", "no entry `2`"),
        ("x{{ tags }}", "`join`"),
        ("x{{ a }}", "name one of its entries"),
        ("{{ n | join }}", "cannot be filled in"),
        ("{{ name | round }}", "cannot be filled in"),
    ],
)
def test_what_cannot_be_filled_in(text: str, words: str) -> None:
    with pytest.raises(TemplateFault) as caught:
        filled(text)
    assert words in caught.value.message


@pytest.mark.parametrize("text", ["{{ b }} {{ c | default('') }} {{ a }}", "{{ b }} {{ a }}"])
def test_a_missing_name_is_told(text: str) -> None:
    template = Template(text)
    assert (template.names - {"c"}, template.required) == ({"a", "b"}, {"a", "b"})
    with pytest.raises(MissingName, match="`a`"):
        template.fill(Scope({"b": 1}))
    assert template.fill(Scope({"a": 1, "b": 2})) in ("2 1", "2  1")


PLAIN = st.text(st.characters(exclude_characters="{}%#\0\r", exclude_categories=["Cs"]))


@given(PLAIN, st.text(), PLAIN)
def test_values_are_never_interpreted(before: str, value: str, after: str) -> None:
    assert filled(f"{before}{{{{ value }}}}{after}", value=value) == f"{before}{value}{after}"


@given(st.text(alphabet="{}%#| .()[]'\"abn01+-*_\n\\", max_size=30))
def test_any_text_is_a_template_or_a_fault(text: str) -> None:
    with suppress(TemplateFault):
        found = Template(text).fill(Scope(ROW | {"b": 1}))
        assert not callable(found)
        assert is_template(text) or found == text


@given(st.sampled_from(FILTERS), st.one_of(st.none(), st.booleans(), st.integers(), st.text(), st.lists(st.text())))
def test_a_filter_fits_or_is_a_fault(name: str, value: object) -> None:
    with suppress(TemplateFault):
        assert not callable(filled(f"{{{{ value | {name} }}}}", value=value))
