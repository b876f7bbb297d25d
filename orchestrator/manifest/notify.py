"""The key `notify`: who is told of what."""

from typing import Any

from orchestrator.base.diagnostics import Code
from orchestrator.base.notices import USUAL_EVENTS, NoticeEvent, NoticeStyle, may_be_sent_to, url_fault
from orchestrator.manifest import values
from orchestrator.manifest.findings import Findings
from orchestrator.manifest.nodes import Entry, Mapping, Node, Scalar, Sequence
from orchestrator.manifest.suggest import did_you_mean

_MAX_ENTRIES = 16
_STYLES = (NoticeStyle.WEBHOOK.value, NoticeStyle.SLACK.value)
_EVENTS = tuple(event.value for event in NoticeEvent)


def read_notify(entry: Entry | None, findings: Findings) -> tuple[dict[str, Any], ...]:
    """The readable entries: `{"webhook": url, "on": [event, ...]}`, or `slack`. No message shows a URL."""
    if entry is None:
        return ()
    node = entry.value
    if not isinstance(node, Sequence) or len(node.items) > _MAX_ENTRIES:
        message = (
            f"`notify` must be a list of at most {_MAX_ENTRIES} entries such as "
            f"{{webhook: https://..., on: [finished]}}, it is {_size(node)}"
        )
        findings.error(Code.INVALID_VALUE, node, message, "notify")
        return ()
    found = [_entry(item, f"notify[{number}]", findings) for number, item in enumerate(node.items)]
    return tuple(item for item in found if item is not None)


def _size(node: Node) -> str:
    return f"a list of {len(node.items)}" if isinstance(node, Sequence) else values.describe(node)


def _entry(node: Node, path: str, findings: Findings) -> dict[str, Any] | None:
    entry = values.mapping(node, path, findings)
    if entry is None:
        return None
    _check_keys(entry, path, findings)
    styles = [style for style in _STYLES if style in entry.entries]
    if len(styles) != 1:
        message = f"`{path}` needs either `webhook` or `slack`, with a URL"
        findings.error(Code.INVALID_VALUE if styles else Code.MISSING_FIELD, node, message, path)
        return None
    url = _url(entry.entries[styles[0]].value, f"{path}.{styles[0]}", findings)
    events = _events(entry.entries.get("on"), f"{path}.on", findings)
    return None if url is None or events is None else {styles[0]: url, "on": events}


def _check_keys(entry: Mapping, path: str, findings: Findings) -> None:
    for name, unknown in entry.entries.items():
        if name not in (*_STYLES, "on"):
            message = f"`{path}` has no key `{values.shorten(name)}`{did_you_mean(name, (*_STYLES, 'on'))}"
            findings.error(Code.UNKNOWN_FIELD, unknown.key, message, f"{path}.{name}")


def _url(node: Node, path: str, findings: Findings) -> str | None:
    url = node.value if isinstance(node, Scalar) and isinstance(node.value, str) else ""
    if url.isprintable() and may_be_sent_to(url):
        return url
    findings.error(Code.INVALID_VALUE, node, url_fault(path), path)
    return None


def _events(entry: Entry | None, path: str, findings: Findings) -> list[str] | None:
    if entry is None:
        return [event.value for event in USUAL_EVENTS]
    node = entry.value
    if not isinstance(node, Sequence) or not node.items:
        message = f"`{path}` must be a list of {', '.join(_EVENTS)}; it is {values.describe(node)}"
        findings.error(Code.INVALID_VALUE, node, message, path)
        return None
    found = [_event(item, path, findings) for item in node.items]
    return [event for event in found if event is not None] or None


def _event(node: Node, path: str, findings: Findings) -> str | None:
    word = node.value if isinstance(node, Scalar) and isinstance(node.value, str) else None
    if word in _EVENTS:
        return word
    hint = did_you_mean(word, _EVENTS) if word else ""
    message = f"`{path}` takes {', '.join(_EVENTS)}, it has {values.describe(node)}{hint}"
    findings.error(Code.INVALID_VALUE, node, message, path)
    return None
