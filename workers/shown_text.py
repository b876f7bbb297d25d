"""Words for everyone who may open Flower: on one line, not long, and without what could be a secret."""

import re
from urllib.parse import urlsplit

_LONGEST = 160
_URL = re.compile(r"\b[a-z][a-z0-9+.-]{1,15}:(?://|[^\s,]*;base64,)[^\s\"'<>]+", re.IGNORECASE)
#: Keys, signatures and file contents look like this; a UUID is shorter.
_LONG_WORD = re.compile(r"[A-Za-z0-9+/_=-]{40,}")


def shown(text: object, longest: int = _LONGEST) -> str:
    """Text from outside: URLs lose their user, query and fragment, long words without a blank their end."""
    line = "".join(letter if letter.isprintable() else "\ufffd" for letter in " ".join(str(text).split()))
    line = _LONG_WORD.sub(_shortened, _URL.sub(_bare_url, line))
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def shown_uri(uri: str) -> str:
    """The address of a stored file as it is, but for a query or a password that it may have."""
    return uri if uri.startswith("file:") else _bare_url_text(uri)


def _bare_url(found: re.Match[str]) -> str:
    return _LONG_WORD.sub(_shortened, _bare_url_text(found[0]))


def _bare_url_text(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return "(a URL)"
    if not parts.netloc:
        return f"{parts.scheme}:…"
    path = parts.path + ("?…" if parts.query else "")
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{path}"


def _shortened(found: re.Match[str]) -> str:
    return f"{found[0][:8]}…"
