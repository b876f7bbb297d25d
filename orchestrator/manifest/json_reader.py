"""JSON text to nodes with places, which the standard reader does not give."""

import json
import re
from bisect import bisect_right
from decimal import Decimal

from orchestrator.manifest.core_schema import exact
from orchestrator.manifest.findings import Findings
from orchestrator.manifest.nodes import Entry, Mapping, Node, Scalar, Sequence
from orchestrator.manifest.syntax import MAX_DEPTH, SyntaxFault, report_duplicate

_SPACES = frozenset(" \t\n\r")
_SPACE = re.compile(r"[ \t\n\r]*")
_SIMPLE_STRING = re.compile(r'"([^"\\\x00-\x1f]*)"')  # nothing in it to decode
_SIMPLE_KEY = re.compile(_SIMPLE_STRING.pattern + r"[ \t\n\r]*:")
_SEPARATOR = re.compile(r"[ \t\n\r]*([,\]}])")
_NUMBER = re.compile(r"(-?(?:0|[1-9][0-9]*))(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_WORDS: dict[str, bool | None] = {"true": True, "false": False, "null": None}
_WORD = re.compile(r"true|false|null")
_MAX_INT_CHARACTERS = 1000  # Python refuses ints of more than 4300 digits
_decode_string = json.JSONDecoder().raw_decode


def read_json(text: str, findings: Findings, *, first_line: int = 1) -> Node:
    """The document's root. Duplicate keys go to `findings`; raises SyntaxFault for anything unreadable.

    `first_line` is the number of the text's first line.
    """
    return _Reader(text, findings, first_line).document()


class _Reader:
    def __init__(self, text: str, findings: Findings, first_line: int) -> None:
        self._text = text
        self._lines_before = first_line - 1
        self._findings = findings
        self._line_starts = [0, *(found.end() for found in re.finditer(r"\n", text))]
        self._at = 0

    def document(self) -> Node:
        root = self._value(0)
        self._skip_space()
        if self._at < len(self._text):
            raise self._fault("text after the end of the document")
        return root

    def _value(self, depth: int) -> Node:
        self._skip_space()
        if depth > MAX_DEPTH:
            raise self._fault(f"nested more than {MAX_DEPTH} levels deep")
        first = self._text[self._at : self._at + 1]
        if first == "{":
            return self._object(depth)
        if first == "[":
            return self._array(depth)
        return self._string() if first == '"' else self._literal()

    def _object(self, depth: int) -> Mapping:
        node = Mapping({}, *self._place())
        self._at += 1
        if self._next_is("}"):
            return node
        while True:
            key = self._key()
            entry = Entry(key, self._value(depth + 1))
            if str(key.value) in node.entries:
                report_duplicate(self._findings, key, node.entries[str(key.value)])
            else:
                node.entries[str(key.value)] = entry
            if self._ends("}"):
                return node

    def _key(self) -> Scalar:
        self._skip_space()
        if simple := _SIMPLE_KEY.match(self._text, self._at):
            key = Scalar(simple[1], *self._place())
            self._at = simple.end()
            return key
        if not self._text.startswith('"', self._at):
            raise self._fault("expected a key in double quotes")
        key = self._string()
        if not self._next_is(":"):
            raise self._fault("expected `:`")
        return key

    def _array(self, depth: int) -> Sequence:
        node = Sequence([], *self._place())
        self._at += 1
        if self._next_is("]"):
            return node
        while True:
            node.items.append(self._value(depth + 1))
            if self._ends("]"):
                return node

    def _string(self) -> Scalar:
        place = self._place()
        if simple := _SIMPLE_STRING.match(self._text, self._at):
            self._at = simple.end()
            return Scalar(simple[1], *place)
        try:
            value, self._at = _decode_string(self._text, self._at)
        except json.JSONDecodeError as error:
            self._at = error.pos
            raise self._fault(error.msg) from None
        return Scalar(value, *place)

    def _literal(self) -> Scalar:
        place = self._place()
        if word := _WORD.match(self._text, self._at):
            self._at = word.end()
            return Scalar(_WORDS[word[0]], *place)
        number = _NUMBER.match(self._text, self._at)
        if number is None:
            raise self._fault("expected a value")
        self._at = number.end()
        return Scalar(_number(number), *place)

    def _next_is(self, character: str) -> bool:
        self._skip_space()
        found = self._text.startswith(character, self._at)
        self._at += found
        return found

    def _ends(self, closing: str) -> bool:
        """Whether the list or mapping is at its end; else there is a comma."""
        found = _SEPARATOR.match(self._text, self._at)
        if found is None or found[1] not in (closing, ","):
            self._skip_space()
            raise self._fault("expected `,`")
        self._at = found.end()
        return found[1] == closing

    def _skip_space(self) -> None:
        if self._text[self._at : self._at + 1] in _SPACES:
            space = _SPACE.match(self._text, self._at)
            assert space is not None
            self._at = space.end()

    def _place(self) -> tuple[int, int]:
        line = bisect_right(self._line_starts, self._at)
        return self._lines_before + line, self._at - self._line_starts[line - 1] + 1

    def _fault(self, message: str) -> SyntaxFault:
        return SyntaxFault(message, *self._place())


def _number(found: re.Match[str]) -> int | Decimal:
    whole, fraction, exponent = found.groups()
    is_integer = fraction is None and exponent is None and len(whole) <= _MAX_INT_CHARACTERS
    return int(whole) if is_integer else exact(found[0])
