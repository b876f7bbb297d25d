"""The media in a planned item: `{"$media": hash, ...}`, or `{"$from": job, "use": use}` for a result to come."""

from collections.abc import Callable, Iterator
from typing import Any


def media_of(value: Any) -> Iterator[str]:
    """The hashes of all media in an item."""
    if isinstance(value, dict):
        if "$media" in value:
            yield value["$media"]
        else:
            yield from media_of(list(value.values()))
    elif isinstance(value, list):
        for entry in value:
            yield from media_of(entry)


def as_written(value: Any, medium: Callable[[dict[str, Any]], str]) -> Any:
    """A value of an item with its media as a manifest gives them; `medium` says how it does one that is there."""
    if isinstance(value, list):
        return [as_written(entry, medium) for entry in value]
    if not isinstance(value, dict):
        return value
    if "$from" in value:
        return {"from": value["$from"], "use": value["use"]}
    if "$media" in value:
        return medium(value)
    return {name: as_written(entry, medium) for name, entry in value.items()}
