"""`matrix`: every combination of a few values."""

import itertools
import math
from collections.abc import Iterator

from orchestrator.base.diagnostics import Code
from orchestrator.manifest import values
from orchestrator.manifest.findings import Findings
from orchestrator.manifest.nodes import Entry, Mapping, Sequence, fault_of, scalars

Combination = dict[str, Entry]
"""One value for each key of the matrix."""


def read_matrix(entry: Entry | None, findings: Findings) -> dict[str, list[Entry]] | None:
    """The values of each key; empty without a matrix, None after reporting why it cannot be used."""
    if entry is None:
        return {}
    node = values.mapping(entry.value, "matrix", findings)
    if node is None:
        return None
    if not node.entries:
        findings.error(Code.INVALID_VALUE, node, "`matrix` needs a key with a list of values", "matrix")
        return None
    lists = {name: _values(name, each, findings) for name, each in node.entries.items()}
    return {name: found for name, found in lists.items() if found} if all(lists.values()) else None


def size_of(matrix: dict[str, list[Entry]]) -> int:
    """How many combinations there are: 1 without a matrix."""
    return math.prod(len(entries) for entries in matrix.values())


def combinations(matrix: dict[str, list[Entry]]) -> Iterator[Combination]:
    """Every combination; the last key changes fastest."""
    for chosen in itertools.product(*matrix.values()):
        yield dict(zip(matrix, chosen, strict=True))


def _values(name: str, entry: Entry, findings: Findings) -> list[Entry]:
    path = f"matrix.{name}"
    if isinstance(entry.value, Mapping) or (isinstance(entry.value, Sequence) and not entry.value.items):
        message = f"`{path}` must be a list of values, it is {values.describe(entry.value)}"
        findings.error(Code.INVALID_VALUE, entry.value, message, path)
        return []
    for scalar, place in scalars(entry.value, path):
        if fault := fault_of(scalar.value):
            findings.error(Code.INVALID_VALUE, scalar, f"`{place}` {fault}", path)
            return []
    nodes = entry.value.items if isinstance(entry.value, Sequence) else [entry.value]
    return [Entry(entry.key, node) for node in nodes]
