"""Rebuilding a request body from its stored items: byte for byte the same, with media read by content hash."""

from base64 import b64encode
from collections.abc import Callable
from typing import Any

from orchestrator.katana.wire import build_body


def submission_body(items: list[dict[str, Any]], read_media: Callable[[str], bytes]) -> bytes:
    """The exact bytes to send for stored items. `read_media(sha256)` gives the bytes of an input file."""
    return build_body([_with_media(item, read_media) for item in items])


def _with_media(value: Any, read_media: Callable[[str], bytes]) -> Any:
    if isinstance(value, list):
        return [_with_media(entry, read_media) for entry in value]
    if not isinstance(value, dict):
        return value
    if "$media" in value:
        return value["prefix"] + b64encode(read_media(value["$media"])).decode("ascii")
    return {key: _with_media(entry, read_media) for key, entry in value.items()}
