"""What the sandbox writes: words that are the same for the same question, and JSON of a schema's shape."""

import json
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from orchestrator.sandbox.intake import FAIL_MARKER, MODERATION_MARKER
from orchestrator.sandbox.question import Question

FinishReason = Literal["stop", "length", "content_filter", "error"]

_VOCABULARY = (
    "a calm clear photo of the scene with soft light from the left and one small object on a plain surface it shows "
    "warm colours fine grain and quiet edges in front of an even background seen from slightly above"
)
_WORDS = tuple(_VOCABULARY.split())
_EXACTLY = re.compile(r"reply with exactly:\s*(.+)", re.IGNORECASE | re.DOTALL)
_CHARACTERS_PER_TOKEN = 4
_DEEPEST = 8


@dataclass(frozen=True, slots=True)
class Written:
    """An answer and how it ended."""

    text: str
    tokens: int
    finish_reason: FinishReason


def write(question: Question, seed: str) -> Written:
    """The answer to a question: what it wants said exactly, JSON where it wants that, else some words."""
    if FAIL_MARKER in question.prompt:
        return Written("", 0, "error")
    if MODERATION_MARKER in question.prompt:
        return Written("", 0, "content_filter")
    text = _text(question, random.Random(seed))
    tokens = -(-len(text) // _CHARACTERS_PER_TOKEN)
    if tokens <= question.max_tokens:
        return Written(text, tokens, "stop")
    return Written(text[: question.max_tokens * _CHARACTERS_PER_TOKEN], question.max_tokens, "length")


def _text(question: Question, dice: random.Random) -> str:
    wanted = question.response_format
    if wanted.get("type") == "json_schema":
        definition = wanted.get("json_schema")
        schema = definition.get("schema") if isinstance(definition, dict) else None
        return json.dumps(_instance(schema if isinstance(schema, dict) else {}, dice, 0))
    if wanted.get("type") == "json_object":
        return json.dumps({"text": _sentence(dice), "source": "sandbox"})
    if exactly := _EXACTLY.search(question.last):
        return exactly[1].strip()
    return " ".join(_sentence(dice) for _ in range(dice.randint(1, 3)))


def _sentence(dice: random.Random) -> str:
    words = " ".join(dice.choice(_WORDS) for _ in range(dice.randint(8, 16)))
    return f"{words.capitalize()}."


def _instance(schema: Mapping[str, object], dice: random.Random, depth: int) -> object:
    """A value of a schema's shape, as far as its commonest words tell; anything else is text."""
    if "const" in schema:
        return schema["const"]
    choices = schema.get("enum")
    if isinstance(choices, list) and choices:
        return dice.choice(choices)
    items, properties = schema.get("items"), schema.get("properties")
    match schema.get("type"):
        case "object" if isinstance(properties, dict) and depth < _DEEPEST:
            return {name: _instance(part, dice, depth + 1) for name, part in properties.items()}
        case "array" if isinstance(items, dict) and depth < _DEEPEST:
            return [_instance(items, dice, depth + 1) for _ in range(2)]
        case "object":
            return {}
        case "array":
            return []
        case "integer":
            return dice.randint(0, 9)
        case "number":
            return dice.randint(0, 9) / 2
        case "boolean":
            return dice.random() < 0.5
        case "null":
            return None
    return _sentence(dice)
