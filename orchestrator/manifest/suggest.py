"""Did you mean ...?"""

from collections.abc import Iterable
from difflib import get_close_matches
from functools import lru_cache


def did_you_mean(text: str, known: Iterable[str]) -> str:
    """`; did you mean `x`?` for the closest known word, or nothing where none is close."""
    close = _closest(text.lower()[:100], tuple(known))
    return f"; did you mean `{close}`?" if close else ""


@lru_cache(maxsize=1000)  # thousands of jobs tend to share one mistake
def _closest(text: str, known: tuple[str, ...]) -> str | None:
    return next(iter(get_close_matches(text, known, n=1, cutoff=0.6)), None)
