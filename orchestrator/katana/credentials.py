"""Credentials: how they go with a request, and that none of them comes back in what is kept of an answer."""

import functools
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from orchestrator.base.logs import MASK, written
from orchestrator.katana.verdict import Reply

#: What is shorter is no credential that anybody has, and may stand in any answer.
_SHORTEST_SECRET = 8
#: Where an answer tells what went wrong, of a request or of one of its items.
_ERRORS = frozenset({"error", "errors", "detail"})


def joined(headers: dict[str, str]) -> dict[str, str]:
    """Calls about texts take key and secret as one bearer token (guide, "Text / LLM Chat Completion Basics")."""
    others = {name: value for name, value in headers.items() if name not in ("X-API-Key", "X-API-Secret")}
    if len(others) + 2 > len(headers):
        return headers
    return others | {"Authorization": f"Bearer {headers['X-API-Key']}:{headers['X-API-Secret']}"}


def scrubbed(reply: Reply, credentials: Sequence[str]) -> Reply:
    """An answer whose words about what went wrong echo none of the credentials: they are kept with the job, for all who
    look at that. What was paid for (ids, URLs of files, texts) stays as it came, whatever letters it has.
    """
    forms = _forms(tuple(credentials))

    def scrub(text: str) -> str:
        for form in forms:
            text = text.replace(form, MASK)
        return text

    if reply.body is None or not any(form.encode() in reply.body for form in forms):
        return reply
    if not 200 <= reply.status < 300:
        return replace(reply, body=scrub(reply.body.decode("utf-8", "replace")).encode())
    try:
        document = json.loads(reply.body)
        told = _with_errors(document, scrub)
    except (ValueError, RecursionError):
        return reply
    return reply if told == document else replace(reply, body=json.dumps(told).encode())


@functools.lru_cache(maxsize=8)
def _forms(credentials: tuple[str, ...]) -> list[str]:
    """All the ways in which these may be written, the longest first."""
    values = [value for value in credentials if len(value) >= _SHORTEST_SECRET]
    return sorted({form for value in values for form in written(value)}, key=len, reverse=True)


def _with_errors(value: Any, scrub: Callable[[str], str], *, is_error: bool = False) -> Any:
    """A JSON value with all the texts of its errors put through `scrub`."""
    if isinstance(value, str):
        return scrub(value) if is_error else value
    if isinstance(value, list):
        return [_with_errors(entry, scrub, is_error=is_error) for entry in value]
    if isinstance(value, dict):
        return {name: _with_errors(entry, scrub, is_error=is_error or name in _ERRORS) for name, entry in value.items()}
    return value
