"""Nodes with templates in them: compiled once, then filled in for every row. What is filled in keeps the place."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from orchestrator.base.diagnostics import Code
from orchestrator.manifest.findings import Findings
from orchestrator.manifest.nodes import Entry, Mapping, Node, Place, Scalar, Sequence, scalars
from orchestrator.manifest.suggest import did_you_mean
from orchestrator.manifest.templates import (
    MissingName,
    Scope,
    Template,
    TemplateFault,
    is_template,
    template_of,
    text_of,
)

Fill = Callable[[Scope, Findings], Node | None]
"""Gives the node for one row, or None after reporting why it cannot be filled in."""

_ELSEWHERE = re.compile(r"[/~]|s3://", re.IGNORECASE)
_NAMED = 12  # as many as a message can list


@dataclass(frozen=True, slots=True)
class ScalarFill:
    """Fills in one value. `as_text`: what comes out is text, whatever the variable was.

    `columns` are the row's, where paths are to be kept to the folder that its author wrote.
    """

    node: Scalar
    path: str
    template: Template
    as_text: bool
    columns: frozenset[str] | None

    def value(self, scope: Scope) -> Any:
        """What comes out for one row. Raises TemplateFault."""
        try:
            value = self.template.fill(scope)
        except MissingName as missing:
            raise TemplateFault(_unknown(missing.name, scope.variables)) from None
        return text_of(value) if self.as_text else value

    def __call__(self, scope: Scope, findings: Findings) -> Node | None:
        """The node for one row, or None after reporting why it cannot be filled in."""
        try:
            node = _node_at(self.value(scope), self.node)
            return node if self.columns is None else _confined(node, self.template, self.columns, scope)
        except TemplateFault as fault:
            findings.error(Code.TEMPLATE_ERROR, self.node, fault.message, self.path)
            return None


@dataclass(slots=True)
class Compiler:
    """Compiles the templates of one job. `known` are the names that some row, the matrix or the variables give."""

    known: frozenset[str]
    columns: frozenset[str]
    findings: Findings
    filled: set[Place] = field(default_factory=set)
    of_row: set[Place] = field(default_factory=set)

    def compile(self, node: Node, path: str, *, as_text: bool = False) -> Fill | None:
        """How to fill in `node`; None where there is nothing to fill in. Faults of its templates are reported.

        `as_text`: what comes out is text, whatever the variable was.
        """
        if isinstance(node, Scalar):
            return self._scalar(node, path, as_text) if is_template(node.value) else None
        if isinstance(node, Sequence):
            return self._sequence(node, path, as_text)
        return self._mapping(node, path, as_text)

    def _scalar(self, node: Scalar, path: str, as_text: bool) -> Fill | None:
        try:
            template = template_of(str(node.value))
        except TemplateFault as fault:
            self.findings.error(Code.TEMPLATE_ERROR, node, fault.message, path)
            return None
        if unknown := sorted(template.required - self.known):
            self.findings.error(Code.TEMPLATE_ERROR, node, _unknown(unknown[0], self.known), path)
            return None
        self.filled.add((node.line, node.column))
        is_of_row = not self.columns.isdisjoint(template.names)
        if is_of_row:
            self.of_row.add((node.line, node.column))

        return ScalarFill(node, path, template, as_text, self.columns if is_of_row and not as_text else None)

    def _sequence(self, node: Sequence, path: str, as_text: bool) -> Fill | None:
        fills = [self.compile(item, f"{path}[{index}]", as_text=as_text) for index, item in enumerate(node.items)]
        if not any(fills):
            return None
        pairs = list(zip(node.items, fills, strict=True))

        def fill(scope: Scope, findings: Findings) -> Node | None:
            items = [each(scope, findings) if each else item for item, each in pairs]
            whole = [item for item in items if item is not None]
            return Sequence(whole, node.line, node.column) if len(whole) == len(items) else None

        return fill

    def _mapping(self, node: Mapping, path: str, as_text: bool) -> Fill | None:
        fills = {
            name: each
            for name, entry in node.entries.items()
            if (each := self.compile(entry.value, f"{path}.{name}" if path else name, as_text=as_text))
        }
        if not fills:
            return None

        def fill(scope: Scope, findings: Findings) -> Node | None:
            entries = fill_entries(node.entries, fills, scope, findings)
            return None if entries is None else Mapping(entries, node.line, node.column)

        return fill


def fill_entries(
    entries: dict[str, Entry], fills: dict[str, Fill], scope: Scope, findings: Findings
) -> dict[str, Entry] | None:
    """`entries` with some of them filled in; None where one of these cannot be."""
    filled = dict(entries)
    is_whole = True
    for name, fill in fills.items():
        value = fill(scope, findings)
        if value is None:
            is_whole = False
        else:
            filled[name] = Entry(entries[name].key, value)
    return filled if is_whole else None


def has_template(nodes: Iterable[Node]) -> bool:
    """Whether there is a template anywhere under `nodes`."""
    return any(is_template(scalar.value) for node in nodes for scalar, _ in scalars(node, ""))


def _node_at(value: Any, place: Node) -> Node:
    """A variable's value as a node that stands at `place`."""
    if isinstance(value, dict):
        keys = {str(name): Scalar(str(name), place.line, place.column) for name in value}
        entries = {name: Entry(keys[name], _node_at(each, place)) for name, each in value.items()}
        return Mapping(entries, place.line, place.column)
    if isinstance(value, list):
        return Sequence([_node_at(each, place) for each in value], place.line, place.column)
    if isinstance(value, float):
        value = Decimal(repr(value))
    return Scalar(value, place.line, place.column)


def _confined(node: Node, template: Template, columns: frozenset[str], scope: Scope) -> Node:
    """The node, with its paths kept to the folder that the manifest's author wrote before the row's first column.

    Only a whole value of a row may be an absolute path or a URI: that is what its author meant to say.
    """
    if isinstance(node, Mapping):
        entries = {
            name: Entry(entry.key, _confined(entry.value, template, columns, scope))
            for name, entry in node.entries.items()
        }
        return Mapping(entries, node.line, node.column)
    if isinstance(node, Sequence):
        items = [_confined(item, template, columns, scope) for item in node.items]
        return Sequence(items, node.line, node.column)
    if template.is_whole:
        return node if _ELSEWHERE.match(str(node.value)) else node._replace(within="")
    return node._replace(within=template.head(scope, columns).rpartition("/")[0])


def _unknown(name: str, known: Iterable[str]) -> str:
    names = sorted(known)
    if not names:
        return f"`{name}` is not known here: there are no columns, matrix values or `vars`"
    listed = ", ".join(f"`{each}`" for each in names[:_NAMED])
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"`{name}` is not known here; known are {listed}{more}{did_you_mean(name, names)}"
