"""Where output goes: data to stdout, all else to stderr. Text from outside is neither markup nor control code."""

import io
import json
import re
import shutil
import sys
from functools import cache
from typing import Any

from rich.console import Console, RenderableType
from rich.text import Text

_WIDTH_WITHOUT_TERMINAL = 160
#: Control characters but the tab, bidirectional overrides, lone surrogates.
_STEERING = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


@cache
def out() -> Console:
    """Stdout, for what a command is asked for."""
    return _console(stderr=False)


@cache
def err() -> Console:
    """Stderr, for progress, questions, warnings and errors."""
    return _console(stderr=True)


def _console(*, stderr: bool) -> Console:
    console = Console(stderr=stderr, markup=False, emoji=False, highlight=False)
    if not console.is_terminal:
        console.width = shutil.get_terminal_size((_WIDTH_WITHOUT_TERMINAL, 24)).columns
    return console


def printable(text: object) -> str:
    """Text from outside on one line, with whatever could steer a terminal or turn its writing around as escapes."""
    return _STEERING.sub(lambda found: found[0].encode("unicode_escape", "surrogatepass").decode(), str(text))


def safe(text: object, style: str = "") -> Text:
    """Text from outside, to be shown as it is."""
    return Text(printable(text), style=style, overflow="fold")


def show(*parts: RenderableType) -> None:
    """Print to stdout."""
    for part in parts:
        out().print(part, soft_wrap=isinstance(part, Text))


def tell(*parts: RenderableType) -> None:
    """Print to stderr."""
    for part in parts:
        err().print(part, soft_wrap=isinstance(part, Text))


def print_json(document: Any) -> None:
    """The one JSON document on stdout: UTF-8 whatever the terminal's encoding is.

    Written as it is made: the whole text of 100,000 jobs would be hundreds of megabytes.
    """
    text = io.TextIOWrapper(sys.stdout.buffer, "utf-8", "backslashreplace", newline="")
    try:
        for piece in json.JSONEncoder(ensure_ascii=False, indent=2, allow_nan=False).iterencode(document):
            text.write(piece)
        text.write("\n")
    finally:
        text.detach()  # or the end of `text` would close stdout
    sys.stdout.buffer.flush()


def print_raw(text: str) -> None:
    """Text for another program; a lone surrogate (of a file's name) becomes its JSON escape."""
    sys.stdout.buffer.write(text.encode("utf-8", "backslashreplace"))
    sys.stdout.buffer.flush()
