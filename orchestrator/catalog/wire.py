"""The forms that `GET /v1/models` may take, translated into this project's field names."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Literal, get_args

from orchestrator.catalog.models import Catalog, CustomRule

ModelType = Literal["text", "image", "video"]

_LISTS = ("models", "data", "items", "results")
_TYPE_KEYS = ("type", "model_type", "kind", "category", "modality", "media_type")
_NAME_KEYS = ("public_name", "public_model_name", "model_name", "name", "id", "model", "slug")
_RULES = frozenset(get_args(CustomRule))


class Unread(Exception):
    """A value in a form that is not understood."""


@dataclass(frozen=True, slots=True)
class Record:
    """One model as the provider tells it."""

    name: str
    type: ModelType
    fields: dict[str, Any]


def records(payload: object, base: Catalog) -> Iterator[Record]:
    """Every model in the answer: a list, a list under a key, lists by type, or a mapping by name."""
    for hint, fields in _entries(payload, None, 0):
        name = _name(fields, hint, base)
        model_type = _type(fields, hint) or (known.type if name and (known := base.get(name)) else None)
        if name and model_type:
            yield Record(name, model_type, fields)


def translate(record: Record) -> tuple[dict[str, Any], list[str]]:
    """The record in our field names, and what of it could not be read."""
    told: dict[str, Any] = {}
    unread: list[str] = []
    for field, (names, read) in _FIELDS[record.type].items():
        name = next((name for name in names if record.fields.get(name) is not None), None)
        if name is None:
            continue
        try:
            told[field] = read(record.fields[name])
        except Unread as error:
            unread.append(f"{name} {error}")
    if record.fields.get("supports_reference_images") is False and record.type == "video":
        told["max_reference_images"] = 0
    if record.fields.get("supports_audio_input") is False and record.type == "video":
        told["max_audio_files"] = 0
    return told, unread


def _entries(payload: object, hint: str | None, depth: int) -> Iterator[tuple[str | None, dict[str, Any]]]:
    if depth > 4:
        return
    if isinstance(payload, list):
        for item in payload:
            if isinstance(item, dict):
                yield hint, item
    elif isinstance(payload, dict):
        inner = next((payload[key] for key in _LISTS if isinstance(payload.get(key), list | dict)), None)
        if inner is not None:
            yield from _entries(inner, hint, depth + 1)
        else:
            for key, value in payload.items():
                is_model = isinstance(value, dict) and not _type_in(key)
                yield from [(key, value)] if is_model else _entries(value, key, depth + 1)


def _name(fields: dict[str, Any], hint: str | None, base: Catalog) -> str | None:
    """The public name: whichever candidate is known, else the first in the order of likelihood."""
    written = [fields[key] for key in _NAME_KEYS if isinstance(fields.get(key), str) and fields[key]]
    candidates = [*written, *([hint] if hint and not _type_in(hint) else [])]
    known = next((name for name in candidates if base.get(name)), None)
    return known or (candidates[0] if candidates else None)


def _type(fields: dict[str, Any], hint: str | None) -> ModelType | None:
    written = next((fields[key] for key in _TYPE_KEYS if isinstance(fields.get(key), str)), None)
    if written and (found := _type_in(written)):
        return found
    if "video_lengths_and_costs" in fields:
        return "video"
    return _type_in(hint) if hint else None


def _type_in(text: str) -> ModelType | None:
    lowered = text.lower()
    if lowered in ("llm", "chat", "language"):
        return "text"
    words = lowered.replace("-", "_").removesuffix("s").removesuffix("_model").split("_")
    for model_type in get_args(ModelType):
        if words[0] == model_type and len(words) <= 2:
            found: ModelType = model_type
            return found
    return None


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise Unread("is not text")
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise Unread("is not true or false")
    return value


def _count(value: object) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise Unread("is not a number of files")
    return value


def _amount(value: object) -> Decimal:
    if isinstance(value, dict):
        value = next((value[key] for key in ("credits", "cost", "amount") if key in value), None)
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        raise Unread("is not an amount")
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        raise Unread("is not an amount") from None
    if not amount.is_finite():
        raise Unread("is not an amount")
    return amount


def _amount_by_seconds(value: object) -> dict[int, Decimal]:
    pairs = value.items() if isinstance(value, dict) else _pairs(value)
    try:
        found = {int(str(seconds).rstrip("s")): _amount(amount) for seconds, amount in pairs}
    except ValueError:
        raise Unread("has a duration that is not a number") from None
    if not found:
        raise Unread("has no durations")
    return found


def _pairs(value: object) -> list[tuple[object, object]]:
    if not isinstance(value, list):
        raise Unread("is not a list of durations")
    pairs: list[tuple[object, object]] = []
    for item in value:
        if isinstance(item, dict):
            seconds = next((item[key] for key in _SECONDS_KEYS if key in item), None)
            pairs.append((seconds, item))
        elif isinstance(item, list) and len(item) == 2:
            pairs.append((item[0], item[1]))
        else:
            raise Unread("has a duration without a price")
    return pairs


_SECONDS_KEYS = ("seconds", "duration_seconds", "duration", "length")


def _texts(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    if isinstance(value, dict):
        value = [name for name, held in value.items() if held]
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise Unread("is not a list of words")
    return tuple(value)


def _ratios(value: object) -> tuple[str, ...]:
    ratios = tuple(ratio for ratio in _texts(value) if ratio != "auto")
    if not ratios:
        raise Unread("is empty")
    return ratios


def _rules(value: object) -> tuple[str, ...]:
    rules = _texts(value)
    unknown = [rule for rule in rules if rule not in _RULES]
    if unknown:
        raise Unread(f"has unknown rules: {', '.join(unknown)}")
    return rules


_Reader = Callable[[object], Any]
_COMMON: dict[str, tuple[tuple[str, ...], _Reader]] = {
    "display_name": (("display_name", "title", "label"), _text),
    "creator": (("creator", "publisher"), _text),
    "model_key": (("model_key", "key"), _text),
    "description": (("description",), _text),
}
_MEDIA: dict[str, tuple[tuple[str, ...], _Reader]] = {
    **_COMMON,
    "aspect_ratios": (("supported_aspects", "aspect_ratios", "supported_aspect_ratios"), _ratios),
    "requires_image": (("requires_image_input", "requires_image"), _flag),
}
_FIELDS: dict[ModelType, dict[str, tuple[tuple[str, ...], _Reader]]] = {
    "image": {
        **_MEDIA,
        "credits": (("credits", "cost", "credits_per_image", "credit_cost", "cost_credits"), _amount),
        "max_reference_images": (
            ("multi_image_inputs_allowed", "maximum_reference_images", "max_reference_images"),
            _count,
        ),
    },
    "video": {
        **_MEDIA,
        "credits_by_duration": (("video_lengths_and_costs", "credits_by_duration"), _amount_by_seconds),
        "max_reference_images": (("maximum_reference_images", "max_reference_images"), _count),
        "max_audio_files": (("maximum_reference_audio_files", "max_audio_files"), _count),
        "first_frame": (("supports_first_frame", "first_frame"), _flag),
        "mid_frame": (("supports_mid_frame", "mid_frame"), _flag),
        "last_frame": (("supports_last_frame", "last_frame"), _flag),
        "generates_audio": (("audio_gen_model", "generates_audio"), _flag),
        "custom_rules": (("custom_rules",), _rules),
    },
    "text": {
        **_COMMON,
        "credits_per_million_input": (("credits_per_million_input", "input_credits_per_million"), _amount),
        "credits_per_million_output": (("credits_per_million_output", "output_credits_per_million"), _amount),
        "context_length": (("context_length",), _count),
        "max_output_tokens": (("max_output_tokens",), _count),
        "privacy": (("privacy",), _text),
        "input_types": (("input_types", "supported_input_types"), _texts),
    },
}
"""Our field, the names it may come under (the guide's first), and how it is read."""
