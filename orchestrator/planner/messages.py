"""Where the pictures are in the `messages` of a text job (guide, "Vision chat example"), read or planned."""

from collections.abc import Callable, Iterator
from typing import Any

from orchestrator.manifest.nodes import Entry, Mapping, Node, Scalar, Sequence


def picture_entries(messages: Node) -> Iterator[tuple[str, Entry]]:
    """The `url` of every picture, with its path. What is not as it should be is left to `rules_text`."""
    for path, part in _parts(messages):
        kind = part.entries.get("type")
        image = part.entries.get("image_url")
        if kind is None or image is None or not _is_word(kind.value, "image_url"):
            continue
        if isinstance(image.value, Mapping) and "url" in image.value.entries:
            yield f"{path}.image_url.url", image.value.entries["url"]


def with_pictures(messages: Any, change: Callable[[Any], Any]) -> Any:
    """The messages of an item, with `change` made to the value of every picture."""
    if not isinstance(messages, list):
        return messages
    return [
        message | {"content": [_with_picture(part, change) for part in message["content"]]}
        if isinstance(message, dict) and isinstance(message.get("content"), list)
        else message
        for message in messages
    ]


def _with_picture(part: Any, change: Callable[[Any], Any]) -> Any:
    image = part.get("image_url") if isinstance(part, dict) and part.get("type") == "image_url" else None
    if not isinstance(image, dict) or "url" not in image:
        return part
    return part | {"image_url": image | {"url": change(image["url"])}}


def _parts(messages: Node) -> Iterator[tuple[str, Mapping]]:
    for number, message in enumerate(messages.items if isinstance(messages, Sequence) else ()):
        content = message.entries.get("content") if isinstance(message, Mapping) else None
        if content is None or not isinstance(content.value, Sequence):
            continue
        for index, part in enumerate(content.value.items):
            if isinstance(part, Mapping):
                yield f"messages[{number}].content[{index}]", part


def _is_word(node: Node, word: str) -> bool:
    return isinstance(node, Scalar) and node.value == word
