"""Another job's result in a stored item: `{"$from": id, "use": role}` until it is there, then where it is stored."""

from collections.abc import Iterator, Mapping
from typing import Any

#: A needed job's id and the role of its file: original or final_frame.
Reference = tuple[str, str]


def references(value: Any) -> Iterator[Reference]:
    """What an item needs of other jobs."""
    if isinstance(value, dict):
        if "$from" in value:
            yield value["$from"], value["use"]
            return
        value = list(value.values())
    if isinstance(value, list):
        for entry in value:
            yield from references(entry)


def with_results(value: Any, results: Mapping[Reference, dict[str, Any]]) -> Any:
    """An item with the results that it needs in their places, each with the job (`of`) and the file that it was."""
    if isinstance(value, list):
        return [with_results(entry, results) for entry in value]
    if not isinstance(value, dict):
        return value
    if "$from" in value:
        return results[value["$from"], value["use"]] | {"of": value["$from"], "use": value["use"]}
    return {key: with_results(entry, results) for key, entry in value.items()}


def stored_result(*, sha256: str, mime_type: str, uri: str) -> dict[str, Any]:
    """A stored file in a media field: it is sent as a data URL, read from where it is and checked by its hash."""
    return {"$media": sha256, "prefix": f"data:{mime_type};base64,", "uri": uri}
