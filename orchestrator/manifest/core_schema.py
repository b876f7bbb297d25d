"""What an unquoted YAML scalar means: YAML 1.2 core schema, so that `16:9`, `no` and `2026-05-20` are text."""

import re
from decimal import Decimal, InvalidOperation

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOL = {text: value for value in (True, False) for text in (str(value), str(value).lower(), str(value).upper())}
_INT = re.compile(r"[-+]?[0-9]+")
_OCTAL_OR_HEX = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_INFINITY = re.compile(r"[-+]?\.(?:inf|Inf|INF)")
_NAN = frozenset({".nan", ".NaN", ".NAN"})
_FIRST = frozenset("0123456789+-.~nNtTfF")
_MAX_INT_CHARACTERS = 1000  # Python refuses to read ints of more than 4300 digits; Decimal has no such limit

Value = str | int | Decimal | bool | None


def resolve(text: str) -> Value:
    """The value of a plain scalar; a fraction becomes an exact Decimal."""
    if text and text[0] not in _FIRST:
        return text
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    number = _number(text)
    return text if number is None else number


def resolve_tagged(tag: str, text: str) -> Value:
    """The value under an explicit `!!tag` of the core schema; raises ValueError where it does not fit."""
    if tag not in ("str", "null", "bool", "int", "float"):
        raise ValueError(f"has the tag !!{tag}, which is not supported")
    value = resolve(text)
    if tag == "str":
        return text
    if tag == "null" and value is None:
        return None
    if tag == "bool" and isinstance(value, bool):
        return value
    if tag == "int" and isinstance(value, int) and not isinstance(value, bool):
        return value
    if tag == "float" and isinstance(value, int | Decimal) and not isinstance(value, bool):
        return Decimal(value)
    raise ValueError(f"is not of the type !!{tag}")


def _number(text: str) -> int | Decimal | None:
    if _INT.fullmatch(text):
        return int(text) if len(text) <= _MAX_INT_CHARACTERS else Decimal(text)
    if _OCTAL_OR_HEX.fullmatch(text):
        return int(text, base=0)
    if _FLOAT.fullmatch(text):
        return exact(text)
    if _INFINITY.fullmatch(text):
        return Decimal("-Infinity" if text[0] == "-" else "Infinity")
    return Decimal("NaN") if text in _NAN else None


def exact(text: str) -> Decimal:
    """A decimal number without rounding; infinite where its exponent is beyond all use."""
    try:
        return Decimal(text)
    except InvalidOperation:
        return Decimal("Infinity")
