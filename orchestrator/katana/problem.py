"""The provider's own words about what went wrong, and the code that we file them under."""

import re
from dataclasses import dataclass
from typing import Any

from orchestrator.base.states import JobError

_MAX_WORDS = 2000
_MODERATION = re.compile(r"moderat|content.?policy|safety|nsfw|blocked by|prohibited", re.IGNORECASE)
_FUNDS = re.compile(
    r"insufficient[ _-]?(credit|fund|balance)|not enough (credit|fund|balance)|balance too low", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Problem:
    """What the provider said: its code where it has one, and its message."""

    code: str | None
    message: str

    def document(self) -> dict[str, str | None]:
        return {"code": self.code, "message": self.message}

    def filed_under(self, fallback: JobError) -> JobError:
        """Our code for it: moderation and missing funds are recognised, anything else is `fallback`."""
        words = f"{self.code or ''} {self.message}"
        if _MODERATION.search(words):
            return JobError.MODERATION
        if _FUNDS.search(words):
            return JobError.INSUFFICIENT_CREDITS
        return fallback


def read_problem(value: Any) -> Problem | None:
    """The problem in an `error` field or an error document, however it is wrapped; None where there is none."""
    if isinstance(value, str):
        return Problem(None, value.strip()[:_MAX_WORDS]) if value.strip() else None
    if isinstance(value, list):
        problems = [problem for problem in map(read_problem, value) if problem]
        return Problem(problems[0].code, "; ".join(p.message for p in problems)[:_MAX_WORDS]) if problems else None
    if not isinstance(value, dict):
        return None
    for wrapped in (value.get("error"), value.get("errors"), value.get("detail"), _item_errors(value)):
        inner = read_problem(wrapped)
        if inner:
            return Problem(inner.code or _word(value.get("code")), inner.message)
    message = _word(value.get("message")) or _word(value.get("msg")) or _word(value.get("reason"))
    code = _word(value.get("code")) or _word(value.get("type"))
    return Problem(code, (message or code or "")[:_MAX_WORDS]) if message or code else None


def _item_errors(document: dict[str, Any]) -> list[Any]:
    """The errors of a request's items; what else an item says is no problem."""
    items = document.get("responses")
    return [item.get("error") for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def _word(value: Any) -> str | None:
    return value.strip()[:_MAX_WORDS] if isinstance(value, str) and value.strip() else None
