"""JSONL: a JSON object on each line, empty lines aside."""

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, NamedTuple, NoReturn

from orchestrator.base.diagnostics import Code
from orchestrator.manifest import values
from orchestrator.manifest.findings import Findings
from orchestrator.manifest.json_reader import read_json
from orchestrator.manifest.nodes import Mapping, Scalar
from orchestrator.manifest.syntax import SyntaxFault
from orchestrator.manifest.table_text import ESCAPED, byte_of

_DOUBTFUL = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")  # NUL, and halves of surrogate pairs


class Line(NamedTuple):
    """One object with its 1-based line; None where the line cannot be read, which `findings` say."""

    number: int
    node: Mapping | None
    findings: Findings


def read_json_lines(text: str, file: str) -> Iterator[Line]:
    """Every line that is not empty, with findings of its own."""
    for number, line in enumerate(split_lines(text), start=1):
        if line.strip():
            yield read_json_line(number, line, file)


def split_lines(text: str) -> list[str]:
    """All lines."""
    return text.replace("\r\n", "\n").split("\n")


def read_json_line(number: int, line: str, file: str) -> Line:
    """One line by the reader with places, which says what is wrong."""
    findings = Findings(file)
    return Line(number, _object(number, line, findings), findings)


def read_quickly(line: str) -> Any:
    """A line by the standard reader, which is fast: fractions are exact Decimals. None for what is not plainly good."""
    if _DOUBTFUL.search(line) or not (line.isascii() or ESCAPED.search(line) is None):
        return None
    try:
        return _decode(line)
    except (ValueError, RecursionError):
        return None


def _refuse(word: str) -> NoReturn:
    raise ValueError(word)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is given twice")
    return found


_decode = json.JSONDecoder(parse_float=Decimal, parse_constant=_refuse, object_pairs_hook=_distinct).decode


def _object(number: int, line: str, findings: Findings) -> Mapping | None:
    if not line.isascii() and (found := ESCAPED.search(line)):
        place = Scalar(None, number, found.start() + 1)
        findings.error(Code.MANIFEST_UNREADABLE, place, f"the line is not UTF-8 (byte {byte_of(found[0])})")
        return None
    try:
        node = read_json(line, findings, first_line=number)
    except SyntaxFault as fault:
        findings.error(Code.YAML_SYNTAX, Scalar(None, fault.line, fault.column), fault.message)
        return None
    if isinstance(node, Mapping):
        return node
    findings.error(Code.INVALID_VALUE, node, f"each line must be a JSON object, it is {values.describe(node)}")
    return None
