"""Words for everyone who may open Flower: on one line, not long, and without secrets."""

from collections.abc import Callable
from functools import cache
from urllib.parse import urlsplit

from orchestrator.base.logs import redactor
from orchestrator.base.settings import load_settings

_LONGEST = 160


@cache
def _redact() -> Callable[[str], str]:
    return redactor(load_settings().secrets)


def shown(text: object, longest: int = _LONGEST) -> str:
    """Text from outside, as it may stand in a log."""
    line = "".join(letter if letter.isprintable() else "\ufffd" for letter in " ".join(str(text).split()))
    line = _redact()(line)
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def shown_uri(uri: str) -> str:
    """The address of a stored file as it is, but for a query or a password that it may have."""
    if uri.startswith("file:"):
        return uri
    try:
        parts = urlsplit(uri)
    except ValueError:
        return "(a URL)"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}{'?…' if parts.query else ''}"
