"""What the provider's answer tells of a request that was made elsewhere: its items, their models and prices. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from orchestrator.base.money import ZERO
from orchestrator.catalog.models import AnyModel, Catalog
from orchestrator.katana.wire import Answer, Item
from orchestrator.planner.repricing import NoLongerOffered, price_item

#: A longer text in an item is media in place of a link to it; that is not kept.
_LONGEST_TEXT = 100_000
_UNKNOWN_MODEL = "unknown"
#: With these the provider rewrites the prompt (guide, "Image Generation Basics").
_REWRITES = ("use_assistant", "prompt_assist", "use_prompt_assist")
_SHOWN = 60


@dataclass(frozen=True, slots=True)
class ForeignItem:
    """One item of the request. `price` is what was charged, else what the catalogue says, else nothing."""

    type: str
    model: str
    item: dict[str, Any]
    labels: dict[str, str]
    price: Decimal


def read_items(answer: Answer, catalog: Catalog) -> list[ForeignItem]:
    """The items of a request, in its order; none where the answer names neither what was asked nor what it made."""
    count = max(len(answer.requests), len(answer.responses))
    return [_read_item(answer, position, count, catalog) for position in range(count)]


def contradiction(answer: Answer, items: Sequence[dict[str, Any]], catalog: Catalog) -> str | None:
    """What an answer says of its request that cannot be true of a request for these items, in words; None: nothing.

    Only what is told counts, and no more than surely differs: a prompt that was to be rewritten may be told rewritten.
    """
    if not answer.requests:
        return None
    if len(answer.requests) != len(items):
        return f"it is for {len(answer.requests)} item(s), not {len(items)}"
    for told, item in zip(answer.requests, items, strict=True):
        for name, theirs in (("type", told.get("type")), ("model", _public_name(told, catalog))):
            if isinstance(theirs, str) and name in item and theirs != item[name]:
                return f"its {name} is {theirs}, not {item[name]}"
        prompt = _word(told.get("prompt"))
        if prompt and not _is_rewritten(item) and prompt.strip() != str(item.get("prompt", "")).strip():
            return f"its prompt is {_start(prompt)}"
    return None


def _public_name(told: dict[str, Any], catalog: Catalog) -> str | None:
    """The public name of the model of an item; None where the catalogue does not know what it is called."""
    key = _word(told.get("model"))
    known = catalog.by_key(key) if key else None
    return known.name if known else None


def _is_rewritten(item: dict[str, Any]) -> bool:
    return any(item.get(name) for name in _REWRITES)


def _start(prompt: str) -> str:
    return repr(prompt if len(prompt) <= _SHOWN else f"{prompt[:_SHOWN]}...")


def _read_item(answer: Answer, position: int, count: int, catalog: Catalog) -> ForeignItem:
    asked = answer.requests[position] if position < len(answer.requests) else {}
    made = answer.responses[position] if position < len(answer.responses) else Item()
    key = _word(asked.get("model")) or made.metadata.model
    known = catalog.by_key(key) if key else None
    kind = _word(asked.get("type")) or made.type or (known.type if known else None)
    item = _without_media(asked) | {"type": "video" if kind == "video" else "image"}
    if known is not None:
        item["model"] = known.name
    charged = made.metadata.credits_spent
    if charged is None and count == 1:
        charged = answer.metadata.credits_spent
    return ForeignItem(
        type=item["type"],
        model=known.name if known else key or _UNKNOWN_MODEL,
        item=item,
        labels=_labels(asked),
        price=charged if charged is not None else _catalogue_price(catalog, known, item),
    )


def _catalogue_price(catalog: Catalog, model: AnyModel | None, item: dict[str, Any]) -> Decimal:
    if model is None:
        return ZERO
    try:
        return price_item(catalog, type=item["type"], model=model.name, item=item)
    except (NoLongerOffered, AttributeError, KeyError, TypeError):  # the echo of an item may have any shape
        return ZERO


def _word(value: object) -> str | None:
    return value if isinstance(value, str) and value.strip() else None


def _labels(asked: dict[str, Any]) -> dict[str, str]:
    labels = asked.get("labels")
    return {k: v for k, v in labels.items() if isinstance(v, str)} if isinstance(labels, dict) else {}


def _without_media(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_media(entry) for name, entry in value.items() if not _is_media(entry)}
    if isinstance(value, list):
        return [_without_media(entry) for entry in value if not _is_media(entry)]
    return value


def _is_media(value: object) -> bool:
    return isinstance(value, str) and (value.startswith("data:") or len(value) > _LONGEST_TEXT)
