"""Rebuilding a request body from its stored items: byte for byte the same, with media read by content hash."""

from base64 import b64encode
from collections.abc import Callable
from typing import Any

from orchestrator.katana.client import CHAT, GENERATION, Call
from orchestrator.katana.wire import build_body, build_chat_body

#: The bytes of a file by its SHA-256 and, where it is another job's result, the URI that it is stored at.
ReadMedia = Callable[[str, str | None], bytes]


def submission_body(items: list[dict[str, Any]], read_media: ReadMedia) -> bytes:
    """The exact bytes to send for stored items; a text is always alone."""
    if call_for(items) is CHAT:
        return build_chat_body(_with_media(items[0], read_media))
    return build_body([_with_media(item, read_media) for item in items])


def has_media(value: Any) -> bool:
    """Whether stored items name files, which have to be read."""
    if isinstance(value, dict):
        return "$media" in value or any(map(has_media, value.values()))
    return isinstance(value, list) and any(map(has_media, value))


def call_for(items: list[dict[str, Any]]) -> Call:
    """Where stored items are sent to."""
    return CHAT if any(item.get("type") == "text" for item in items) else GENERATION


def _with_media(value: Any, read_media: ReadMedia) -> Any:
    if isinstance(value, list):
        return [_with_media(entry, read_media) for entry in value]
    if not isinstance(value, dict):
        return value
    if "$from" in value:
        raise ValueError(f"the result of job {value['$from']} is not there yet")
    if "$media" in value:
        content = read_media(value["$media"], value.get("uri"))
        return value["prefix"] + b64encode(content).decode("ascii")
    return {key: _with_media(entry, read_media) for key, entry in value.items()}
