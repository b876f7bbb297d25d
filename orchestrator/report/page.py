"""The page itself: template, style, script and data in one file that loads nothing but the pictures it names.

Prompts and the provider's words are anybody's text: they reach the page as escaped data, and the script writes them as
text only. A policy in the page lets nothing else run or load.
"""

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import urlsplit

from jinja2 import Environment
from markupsafe import Markup

_ESCAPED = {ord("<"): "\\u003c", ord(">"): "\\u003e", ord("&"): "\\u0026"}


@dataclass(frozen=True, slots=True)
class Head:
    """What stands above the cards."""

    name: str
    batch: str
    facts: Sequence[str]
    warnings: Sequence[str]
    unit: str
    by_model: Sequence[Mapping[str, Any]]


def render(head: Head, document: Mapping[str, Any], links: Iterable[str]) -> bytes:
    """The page's bytes; `links` are all that it shows, whose origins alone it may load from."""
    style, script = _part("page.css"), _part("page.js")
    html: str = _template().render(
        title=f"{head.name} · {head.batch}",
        name=head.name,
        facts=head.facts,
        warnings=head.warnings,
        unit=head.unit,
        by_model=head.by_model,
        policy=_policy(style, script, links),
        style=Markup(style),  # noqa: S704 - our own file
        script=Markup(script),  # noqa: S704 - our own file
        data=Markup(script_json(document)),  # noqa: S704 - escaped there
    )
    return html.encode("utf-8", "replace")


def script_json(document: Any) -> str:
    """JSON that may stand in a script element: ASCII, and nothing in it can end the element or begin a comment."""
    return json.dumps(document, separators=(",", ":")).translate(_ESCAPED)


def _policy(style: str, script: str, links: Iterable[str]) -> str:
    sources = " ".join(["'self'", "file:", *sorted(_origins(links))])
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src '{_digest(script)}'",
            f"style-src '{_digest(style)}'",
            f"img-src {sources} data:",
            f"media-src {sources}",
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
        ]
    )


def _origins(links: Iterable[str]) -> set[str]:
    parts = (urlsplit(link) for link in links if link.startswith(("http://", "https://")))
    return {f"{part.scheme}://{part.netloc}" for part in parts}


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


@cache
def _template() -> Any:
    return Environment(autoescape=True).from_string(_part("page.html"))


@cache
def _part(name: str) -> str:
    return files("orchestrator.report").joinpath(name).read_text(encoding="utf-8")
