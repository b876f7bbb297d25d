"""The tree that YAML and JSON files are read into: every value and key keeps its place.

Lines and columns are 1-based; columns count characters.
"""

import math
from collections.abc import Iterator
from collections.abc import Mapping as MappingType
from decimal import Decimal
from typing import Any, NamedTuple


class Scalar(NamedTuple):
    """Text, a number (a fraction is an exact Decimal), a boolean or null.

    `within` is the folder besides the manifest's that a path in it may lead to, where a row's column is a part of it
    ("" where that is only the manifest's). None where it may lead anywhere.
    """

    value: str | int | Decimal | bool | None
    line: int
    column: int
    within: str | None = None


class Sequence(NamedTuple):
    """A list."""

    items: list["Node"]
    line: int
    column: int


class Entry(NamedTuple):
    """A key with its value."""

    key: Scalar
    value: "Node"


class Mapping(NamedTuple):
    """A mapping, by the text of its keys."""

    entries: dict[str, Entry]
    line: int
    column: int


Node = Scalar | Sequence | Mapping
Place = tuple[int, int]
"""Line and column."""


def plain(node: Node, replaced: MappingType[int, Any]) -> Any:
    """The node as JSON data. `replaced` gives other data for some nodes, by their `id()`."""
    if id(node) in replaced:
        return replaced[id(node)]
    if isinstance(node, Mapping):
        return {name: plain(entry.value, replaced) for name, entry in node.entries.items()}
    if isinstance(node, Sequence):
        return [plain(item, replaced) for item in node.items]
    return float(node.value) if isinstance(node.value, Decimal) else node.value


def native(node: Node) -> Any:
    """The node as Python data: `plain`, but with fractions as exact Decimals."""
    if isinstance(node, Mapping):
        return {name: native(entry.value) for name, entry in node.entries.items()}
    return [native(item) for item in node.items] if isinstance(node, Sequence) else node.value


def node_of(data: Any) -> Node:
    """The node that JSON data would be read into, with the file's beginning for its place."""
    if isinstance(data, dict):
        return Mapping({name: Entry(Scalar(name, 1, 1), node_of(value)) for name, value in data.items()}, 1, 1)
    if isinstance(data, list):
        return Sequence([node_of(item) for item in data], 1, 1)
    return Scalar(Decimal(repr(data)) if isinstance(data, float) else data, 1, 1)


def scalars(node: Node, path: str) -> Iterator[tuple[Scalar, str]]:
    """Every scalar under `node`, keys included, with its path (`video_image_data.reference_image_urls[0]`)."""
    if isinstance(node, Scalar):
        yield node, path
    elif isinstance(node, Sequence):
        for index, item in enumerate(node.items):
            yield from scalars(item, f"{path}[{index}]")
    else:
        for name, entry in node.entries.items():
            yield entry.key, f"{path}.{name}"
            yield from scalars(entry.value, f"{path}.{name}")


def fault_of(value: object) -> str | None:
    """Why a scalar cannot be stored or sent, or None: NUL, half a character, or a number JSON cannot hold."""
    if isinstance(value, str):
        if "\0" in value:
            return "contains a NUL character"
        if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
            return "contains half of a surrogate pair"
    if isinstance(value, Decimal) and not math.isfinite(float(value)):
        return "is not a number that JSON can hold"
    return None


def replaced_at(node: Node, place: Place) -> Node:
    """The same node with everything in it at `place`."""
    if isinstance(node, Scalar):
        return Scalar(node.value, *place)
    if isinstance(node, Sequence):
        return Sequence([replaced_at(item, place) for item in node.items], *place)
    entries = {
        name: Entry(Scalar(entry.key.value, *place), replaced_at(entry.value, place))
        for name, entry in node.entries.items()
    }
    return Mapping(entries, *place)
