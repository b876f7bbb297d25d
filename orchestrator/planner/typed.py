"""Numbers and switches that come as text: out of a template, or out of a cell of a table."""

from collections.abc import Collection

from orchestrator.manifest.core_schema import resolve
from orchestrator.manifest.nodes import Entry, Place, Scalar
from orchestrator.planner.fields import IN_HOUSE_SWITCHES, MAX_TOKENS

_TYPED = (
    "duration_seconds",
    *IN_HOUSE_SWITCHES,
    *MAX_TOKENS,
    "temperature",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "parallel_tool_calls",
    "stream",
)


def with_types(fields: dict[str, Entry], places: Collection[Place] | None) -> dict[str, Entry]:
    """`fields` with what YAML would read from the text of those that are no text: `5`, `true`.

    Only what stands at one of `places` is read so; with None, everything. What a writer put in quotes stays text.
    """
    read = {name: _read(entry, places) for name in _TYPED if (entry := fields.get(name)) is not None}
    return fields | read if read else fields


def _read(entry: Entry, places: Collection[Place] | None) -> Entry:
    node = entry.value
    if not isinstance(node, Scalar) or not isinstance(node.value, str):
        return entry
    if places is not None and (node.line, node.column) not in places:
        return entry
    return Entry(entry.key, node._replace(value=resolve(node.value.strip())))
