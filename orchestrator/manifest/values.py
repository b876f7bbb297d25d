"""Reads single values out of nodes. Each returns None after reporting what is wrong with the value."""

import re
import unicodedata
from decimal import Decimal

from orchestrator.base.diagnostics import Code
from orchestrator.manifest.findings import Findings
from orchestrator.manifest.nodes import Entry, Mapping, Node, Scalar, Sequence, fault_of

MAX_LABELS = 16
_AMOUNT = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_PERCENTAGE = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,4})?)%")
_MAX_AMOUNT = Decimal(10) ** 12  # what the store's money columns hold, with room for sums
_MAX_AMOUNT_CHARACTERS = 40
_MIN_EXPONENT = -18  # finer than any unit of money here; bounds what formatting an amount can cost


def describe(node: Node) -> str:
    """What a value is, in the words of an error message."""
    if isinstance(node, Sequence):
        return "a list" if node.items else "an empty list"
    if isinstance(node, Mapping):
        return "a mapping"
    if node.value is None:
        return "empty"
    if isinstance(node.value, bool):
        return str(node.value).lower()
    if isinstance(node.value, str):
        return f"the text `{shorten(node.value)}`"
    return f"the number {shorten(str(node.value))}"


def shorten(text: str, length: int = 60) -> str:
    """The text, cut for a message."""
    printable = "".join(character if character.isprintable() else "�" for character in text[: length + 1])
    return printable if len(text) <= length else printable[:length] + "…"


def text(node: Node, name: str, findings: Findings) -> str | None:
    """Text with something in it."""
    if not isinstance(node, Scalar) or not isinstance(node.value, str):
        hint = "; put it in quotes" if isinstance(node, Scalar) and node.value is not None else ""
        findings.error(Code.INVALID_VALUE, node, f"`{name}` must be text, it is {describe(node)}{hint}", name)
        return None
    if not node.value.strip():
        findings.error(Code.INVALID_VALUE, node, f"`{name}` must not be empty", name)
        return None
    if fault := fault_of(node.value):
        findings.error(Code.INVALID_VALUE, node, f"`{name}` {fault}", name)
        return None
    return node.value


def mapping(node: Node, name: str, findings: Findings, *, such_as: str = "") -> Mapping | None:
    """A mapping, `such_as` this one."""
    if isinstance(node, Mapping):
        return node
    shape = f"a mapping such as {such_as}" if such_as else "a mapping"
    findings.error(Code.INVALID_VALUE, node, f"`{name}` must be {shape}, it is {describe(node)}", name)
    return None


def whole_number(node: Node, name: str, findings: Findings, low: int, high: int) -> int | None:
    """A whole number from `low` to `high`."""
    value = node.value if isinstance(node, Scalar) else None
    if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
        return value
    message = f"`{name}` must be a whole number from {low} to {high}, it is {describe(node)}"
    findings.error(Code.INVALID_VALUE, node, message, name)
    return None


def amount(node: Node, name: str, findings: Findings) -> Decimal | None:
    """A positive exact decimal, as a number or in quotes."""
    found = _decimal(node)
    if found is not None and _is_amount(found):
        return found
    message = f"`{name}` must be an amount above 0 such as 500 or 2.60, it is {describe(node)}"
    findings.error(Code.INVALID_VALUE, node, message, name)
    return None


def fraction(node: Node, name: str, findings: Findings, *, or_else: str = "") -> Decimal | None:
    """The fraction that a percentage such as `5%` or `2.5%` is, from 0 to 1. `or_else`: what may stand there, too."""
    value = node.value if isinstance(node, Scalar) else None
    found = _PERCENTAGE.fullmatch(value) if isinstance(value, str) else None
    if found and (percent := Decimal(found[1])) <= 100:
        return percent.scaleb(-2)
    shape = f"a percentage from 0% to 100%, such as 5% or 2.5%{f', or {or_else}' if or_else else ''}"
    message = f"`{name}` must be {shape}, it is {describe(node)}"
    findings.error(Code.INVALID_VALUE, node, message, name)
    return None


def _decimal(node: Node) -> Decimal | None:
    value = node.value if isinstance(node, Scalar) else None
    if isinstance(value, str):
        is_number = len(value) <= _MAX_AMOUNT_CHARACTERS and _AMOUNT.fullmatch(value)
        return Decimal(value) if is_number else None
    return Decimal(value) if isinstance(value, int | Decimal) and not isinstance(value, bool) else None


def _is_amount(value: Decimal) -> bool:
    exponent = value.as_tuple().exponent
    return isinstance(exponent, int) and exponent >= _MIN_EXPONENT and 0 < value <= _MAX_AMOUNT


def labels(entry: Entry | None, findings: Findings) -> dict[str, str]:
    """At most 16 labels, text to text; the readable ones where some are not."""
    node = mapping(entry.value, "labels", findings) if entry else None
    if node is None:
        return {}
    found: dict[str, str] = {}
    for name, label in node.entries.items():
        value = text(label.value, f"labels.{name}", findings)
        if not name or has_control_characters(name):
            findings.error(Code.INVALID_VALUE, label.key, "a label needs a printable name", "labels")
        elif value is not None:
            found[name] = value
    if len(node.entries) > MAX_LABELS:
        message = f"`labels` has {len(node.entries)} labels; at most {MAX_LABELS} are kept"
        findings.error(Code.INVALID_VALUE, node, message, "labels")
    return found


def has_control_characters(value: str) -> bool:
    """Whether the text has control characters or halves of surrogate pairs."""
    return not value.isprintable() and any(unicodedata.category(c) in ("Cc", "Cs") for c in value)
