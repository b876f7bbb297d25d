"""YAML 1.2 text to nodes, over the events of libyaml.

Events rather than PyYAML's composed nodes: nesting and alias expansion can be bounded while reading, and
nothing is built twice. The only file that imports yaml.
"""

from dataclasses import dataclass, field
from typing import Protocol

import yaml

from orchestrator.manifest.core_schema import resolve, resolve_tagged
from orchestrator.manifest.findings import Findings
from orchestrator.manifest.line_breaks import hide, normalize
from orchestrator.manifest.nodes import Entry, Mapping, Node, Scalar, Sequence
from orchestrator.manifest.syntax import MAX_DEPTH, SyntaxFault, report_duplicate

MAX_NODES = 20_000_000
"""Nodes after every alias is written out: above it, aliases are multiplying (an "alias bomb")."""

_CORE_TAGS = "tag:yaml.org,2002:"


def read_yaml(text: str, findings: Findings) -> Node:
    """The document's root. Duplicate keys go to `findings`; raises SyntaxFault for anything unreadable."""
    text, hidden = hide(normalize(text))
    builder = _Builder(findings, hidden)
    try:
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        raise _marked_fault(text, error) from None
    except yaml.reader.ReaderError as error:
        raise _character_fault(text, error) from None
    return builder.root or Scalar(None, 1, 1)


@dataclass(slots=True)
class _Open:
    """A list or mapping that is still being read, and the node count where it began."""

    node: Sequence | Mapping
    anchor: str | None
    nodes_before: int
    key: Scalar | None = None
    key_merges: bool = False
    merged: list[Mapping] = field(default_factory=list)

    @property
    def awaits_key(self) -> bool:
        return isinstance(self.node, Mapping) and self.key is None


@dataclass(slots=True)
class _Anchored:
    """What an alias stands for; `node` is None until it is complete."""

    node: Node | None
    size: int = 0


class _Builder:
    def __init__(self, findings: Findings, hidden: dict[int, str]) -> None:
        self.root: Node | None = None
        self._hidden = hidden
        self._findings = findings
        self._open: list[_Open] = []
        self._anchors: dict[str, _Anchored] = {}
        self._nodes = 0

    def take(self, event: yaml.Event) -> None:
        """The next event of the stream."""
        if isinstance(event, yaml.ScalarEvent):
            self._scalar(event)
        elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            self._start(event)
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            self._end()
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event)
        elif isinstance(event, yaml.DocumentStartEvent) and self.root is not None:
            raise _fault(event, "a manifest is one YAML document; a second one begins here")

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        self._count(1, event)
        event.value = event.value.translate(self._hidden) if self._hidden else event.value
        node = _read_scalar(event)
        if event.anchor:
            self._anchors[event.anchor] = _Anchored(node, 1)
        if self._open and self._open[-1].awaits_key:
            self._open[-1].key = node._replace(value=event.value)
            self._open[-1].key_merges = event.value == "<<" and event.implicit[0]
        else:
            self._place(node)

    def _start(self, event: yaml.MappingStartEvent | yaml.SequenceStartEvent) -> None:
        is_mapping = isinstance(event, yaml.MappingStartEvent)
        if event.tag not in (None, "!", _CORE_TAGS + ("map" if is_mapping else "seq")):
            raise _fault(event, f"the tag `{event.tag}` is not supported")
        if len(self._open) >= MAX_DEPTH:
            raise _fault(event, f"nested more than {MAX_DEPTH} levels deep")
        if self._open and self._open[-1].awaits_key:
            raise _fault(event, "a key must be text (a value that begins with `{{` needs quotes)")
        if event.anchor:
            self._anchors[event.anchor] = _Anchored(None)
        place = _position(event.start_mark)
        node: Sequence | Mapping = Mapping({}, *place) if is_mapping else Sequence([], *place)
        self._open.append(_Open(node, event.anchor, self._nodes))
        self._count(1, event)

    def _end(self) -> None:
        closed = self._open.pop()
        if isinstance(closed.node, Mapping):
            for source in closed.merged:
                for name, entry in source.entries.items():
                    closed.node.entries.setdefault(name, entry)
        if closed.anchor:
            self._anchors[closed.anchor] = _Anchored(closed.node, self._nodes - closed.nodes_before)
        self._place(closed.node)

    def _alias(self, event: yaml.AliasEvent) -> None:
        anchored = self._anchors.get(event.anchor or "")
        if anchored is None:
            raise _fault(event, f"`*{event.anchor}` names no anchor above it")
        if anchored.node is None:
            raise _fault(event, f"`&{event.anchor}` contains itself")
        self._count(anchored.size, event)
        if not (self._open and self._open[-1].awaits_key):
            self._place(anchored.node)
        elif isinstance(anchored.node, Scalar) and isinstance(anchored.node.value, str):
            self._open[-1].key = anchored.node
            self._open[-1].key_merges = False
        else:
            raise _fault(event, "a key must be text")

    def _place(self, node: Node) -> None:
        """Puts a complete node where it belongs: into the open list or mapping, or at the root."""
        if not self._open:
            self.root = node
            return
        top = self._open[-1]
        if isinstance(top.node, Sequence):
            top.node.items.append(node)
            return
        key, top.key = top.key, None
        assert key is not None
        if top.key_merges:
            top.merged.extend(_merge_sources(key, node))
            return
        name = str(key.value)
        if name in top.node.entries:
            report_duplicate(self._findings, key, top.node.entries[name])
            return
        top.node.entries[name] = Entry(key, node)

    def _count(self, nodes: int, event: yaml.Event) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            raise _fault(event, f"aliases expand to more than {MAX_NODES:,} values")


def _read_scalar(event: yaml.ScalarEvent) -> Scalar:
    if event.tag in (None, "!"):
        is_plain = event.tag is None and event.implicit[0]  # `!` says that the value is text
        value = resolve(event.value) if is_plain else event.value
    elif event.tag.startswith(_CORE_TAGS):
        try:
            value = resolve_tagged(event.tag.removeprefix(_CORE_TAGS), event.value)
        except ValueError as error:
            raise _fault(event, f"the value {error}") from None
    else:
        raise _fault(event, f"the tag `{event.tag}` is not supported")
    return Scalar(value, *_position(event.start_mark))


class _Mark(Protocol):
    @property
    def line(self) -> int: ...
    @property
    def column(self) -> int: ...


def _position(mark: _Mark | None) -> tuple[int, int]:
    """libyaml counts from 0 and marks every event; only hand-made events have no mark."""
    assert mark is not None
    return mark.line + 1, mark.column + 1


def _merge_sources(key: Scalar, node: Node) -> list[Mapping]:
    sources = node.items if isinstance(node, Sequence) else [node]
    mappings = [source for source in sources if isinstance(source, Mapping)]
    if len(mappings) != len(sources):
        raise SyntaxFault("`<<` takes a mapping or a list of mappings", key.line, key.column)
    return mappings


def _fault(event: yaml.Event, message: str) -> SyntaxFault:
    return SyntaxFault(message, *_position(event.start_mark))


def _marked_fault(text: str, error: yaml.MarkedYAMLError) -> SyntaxFault:
    line, column = _position(error.problem_mark or error.context_mark)
    message = error.problem or "cannot be read"
    if "cannot start any token" in message:
        character = text.split("\n")[line - 1][column - 1 : column]
        is_tab = character == "\t"
        message = "a tab cannot indent; use spaces" if is_tab else f"`{character}` cannot begin a value; quote it"
    elif "invalid Unicode character escape" in message:
        message = "YAML has no surrogate pairs such as \\ud83d\\ude00; write the character itself"
    elif error.context:
        message = f"{message} {error.context}"
    return SyntaxFault(message, line, column)


def _character_fault(text: str, error: yaml.reader.ReaderError) -> SyntaxFault:
    """libyaml counts bytes here; people count characters."""
    before = text.encode()[: error.position].decode(errors="ignore")
    line = before.count("\n") + 1
    column = len(before) - (before.rfind("\n") + 1) + 1
    return SyntaxFault(f"the character U+{error.character:04X} is not allowed here", line, column)
