"""The answer of `/v1/chat/completions`, read tolerantly (guide, "Text / LLM Chat Completion Basics")."""

import json
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from orchestrator.katana.problem import Problem, read_problem
from orchestrator.katana.wire import Amount, parse_object

#: A longer id is none: it has to fit into an index.
_LONGEST_ID = 200
_FILTERED = frozenset({"content_filter", "safety", "moderation", "refusal"})
_CUT = frozenset({"length", "max_tokens"})


class Billing(BaseModel):
    """`usage.imgnai`: what was set aside, charged and given back (guide, "Text billing rules").

    The guide names its figures in words, `paid_usdc` and `wallet_balance_after_usdc` apart.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    reserved: Amount = Field(default=None, validation_alias=AliasChoices("credits_reserved", "reserved_credits"))
    charged: Amount = Field(
        default=None, validation_alias=AliasChoices("credits_charged", "charged_credits", "credits_spent")
    )
    refunded: Amount = Field(default=None, validation_alias=AliasChoices("credits_refunded", "refunded_credits"))
    usdc: Amount = Field(
        default=None, validation_alias=AliasChoices("charged_usdc", "usdc_charged", "usdc_spent", "paid_usdc")
    )

    @property
    def credits(self) -> Decimal | None:
        """What was charged in credits in the end; None where it is not said."""
        if self.charged is None and self.reserved is not None and self.refunded is not None:
            return max(self.reserved - self.refunded, Decimal(0))
        return self.charged


@dataclass(frozen=True, slots=True)
class Completion:
    """A finished answer. `text` is what was written, or the tools that are to be called, as JSON; it may be empty.

    `usage` is the provider's own object, without a check.
    """

    id: str | None
    model: str | None
    text: str
    finish_reason: str | None
    usage: dict[str, Any]
    billing: Billing
    problem: Problem | None = None
    is_json: bool = False

    @property
    def is_filtered(self) -> bool:
        """Whether it was refused for its content."""
        return self.finish_reason in _FILTERED

    @property
    def is_cut(self) -> bool:
        """Whether it ends where the tokens did."""
        return self.finish_reason in _CUT

    def document(self) -> dict[str, Any]:
        """What is kept beside the text."""
        return {"usage": self.usage, "finish_reason": self.finish_reason, "model": self.model, "id": self.id}


def parse_completion(body: bytes) -> Completion | None:
    """The completion in a response body; None where it is not one: without a choice nothing was answered."""
    document = parse_object(body)
    choices = document.get("choices") if document is not None else None
    if document is None or not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        return None
    message = choices[0].get("message")
    usage = _dict(document.get("usage"))
    text, calls = _content(_dict(message)), _dict(message).get("tool_calls")
    has_calls = not text and isinstance(calls, list) and bool(calls)
    return Completion(
        id=_word(document.get("id"), _LONGEST_ID),
        model=_word(document.get("model")),
        text=json.dumps(calls, ensure_ascii=False, indent=1) if has_calls else text,
        finish_reason="refusal" if _word(_dict(message).get("refusal")) else _word(choices[0].get("finish_reason")),
        usage=usage,
        billing=Billing.model_validate(_dict(usage.get("imgnai"))),
        problem=_problem(choices[0], _dict(message)),
        is_json=has_calls,
    )


def _problem(choice: dict[str, Any], message: dict[str, Any]) -> Problem | None:
    refusal = _word(message.get("refusal"))
    return read_problem(choice.get("error")) or (None if refusal is None else Problem("refusal", refusal))


def _content(message: dict[str, Any]) -> str:
    """Text, or the texts of its parts."""
    content = message.get("content")
    if isinstance(content, list):
        parts = (part.get("text") for part in content if isinstance(part, dict))
        return "".join(part for part in parts if isinstance(part, str))
    return content if isinstance(content, str) else ""


def _word(value: object, longest: int = 2000) -> str | None:
    return value if isinstance(value, str) and value.strip() and len(value) <= longest else None


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
