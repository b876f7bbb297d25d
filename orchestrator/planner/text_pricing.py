"""What is set aside for a text job: the provider's own reserve, as far as the guide tells how it is reckoned.

Source: guide, "Text billing rules". The reserve is at least 10 credits. It has the prompt and the longest answer:
`max_tokens` or `max_completion_tokens`, else 16,000, each at the model's price for a million tokens; it is rounded up
to 0.1. How a prompt's tokens are counted before it is run is not said: here each byte of it is one, which no tokenizer
exceeds, and a picture is as many as the finest of today's encoders make of the largest that the provider sends on.
What is charged in the end is what was used.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_UP, Decimal
from typing import Any

from orchestrator.catalog.models import TextModel
from orchestrator.planner.fields import MAX_TOKENS
from orchestrator.planner.messages import with_pictures

MINIMUM_CREDITS = Decimal(10)
DEFAULT_MAX_TOKENS = 16_000
#: Qwen's encoder: 16,384 at most, where a picture of 4096 x 4096 (the guide's cap) would have 21,316 patches.
TOKENS_PER_PICTURE = 16_384
#: Where a prompt passes into a model's upper tier the guide says that it is dearer and not by how much: the dearest of
#: the vendors' own lists is four times the lower one.
UPPER_TIER_FACTOR = 4
_MILLION = 1_000_000
_TENTH = Decimal("0.1")
_READ_BY_THE_MODEL = ("prompt", "messages", "tools", "tool_choice", "response_format")
_TIER = re.compile(r"\b(?:exceeding|above|over|beyond)\s+(\d+)\s*k\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Reserve:
    """What is set aside for a text job, in credits, and on what it rests.

    `is_upper_tier`: it may be billed by prices that the guide does not give. `is_unbounded`: nothing says how long the
    answer may get.
    """

    credits: Decimal
    is_upper_tier: bool = False
    is_unbounded: bool = False


def text_reserve(model: TextModel, item: Mapping[str, Any]) -> Reserve:
    """The reserve of a text job by its planned item. Pure."""
    prompt = min(prompt_tokens(item), model.context_length)
    answer = _answer_tokens(model, item)
    tier = tier_tokens(model)
    is_upper_tier = tier is not None and prompt + answer > tier
    cost = (prompt * model.credits_per_million_input + answer * model.credits_per_million_output) / _MILLION
    cost = cost * UPPER_TIER_FACTOR if is_upper_tier else cost
    return Reserve(
        credits=max(cost.quantize(_TENTH, ROUND_UP), MINIMUM_CREDITS),
        is_upper_tier=is_upper_tier,
        is_unbounded=model.max_output_tokens is None and _stated_tokens(item) is None,
    )


def prompt_tokens(item: Mapping[str, Any]) -> int:
    """At most so many tokens are read for an item: one for each byte, and a fixed number for each picture."""
    pictures = 0

    def without(_picture: Any) -> str:
        nonlocal pictures
        pictures += 1
        return ""

    read = {name: item[name] for name in _READ_BY_THE_MODEL if name in item}
    if "messages" in read:
        read["messages"] = with_pictures(read["messages"], without)
    size = len(json.dumps(read, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace"))
    return size + pictures * TOKENS_PER_PICTURE


def tier_tokens(model: TextModel) -> int | None:
    """From how many tokens on a model has dearer prices; its description is the only place where the guide says so."""
    found = _TIER.search(model.description) if "tiered" in model.description.lower() else None
    return int(found[1]) * 1000 if found else None


def _answer_tokens(model: TextModel, item: Mapping[str, Any]) -> int:
    stated = _stated_tokens(item)
    wanted = DEFAULT_MAX_TOKENS if stated is None else stated
    return wanted if model.max_output_tokens is None else min(wanted, model.max_output_tokens)


def _stated_tokens(item: Mapping[str, Any]) -> int | None:
    """The larger of the two, where both are given: which of them counts is not said."""
    stated = [value for name in MAX_TOKENS if type(value := item.get(name)) is int]
    return max(stated, default=None)
