"""What a stored item costs by another catalogue than the one it was planned with."""

from decimal import Decimal
from typing import Any

from orchestrator.base.errors import UsageError
from orchestrator.catalog.models import AnyModel, Catalog, TextModel
from orchestrator.planner.fields import ASSET_SLOTS
from orchestrator.planner.pricing import work_price
from orchestrator.planner.text_pricing import text_reserve


class NoLongerOffered(UsageError):
    """The catalogue has no price for the item: its model is gone, or no longer offers its duration."""

    code = "no-longer-offered"


def price_item(catalog: Catalog, *, type: str, model: str, item: dict[str, Any]) -> Decimal:  # noqa: A002 - the column
    """The credits to reserve for a planned job's `item` by `catalog`, by the rule that plans it. Pure.

    Raises NoLongerOffered where the model is gone or of another type, or the duration has no price.
    """
    found = _model(catalog, type, model)
    if isinstance(found, TextModel):
        return text_reserve(found, item).credits
    amount = work_price(found, item.get("duration_seconds"), has_audio=has_audio(item))
    if amount is None:
        raise NoLongerOffered(f"{model} no longer offers {item.get('duration_seconds')} seconds", hint=_HINT)
    return amount


def has_audio(item: dict[str, Any]) -> bool:
    """Whether a planned video item carries audio, in either of the fields that take it."""
    listed = item.get("video_image_data", {}).get("audio_input_urls", ())
    kinds = (asset["kind"] for asset in item.get("reference_assets", ()))
    return bool(listed) or any(ASSET_SLOTS[kind] == "audio" for kind in kinds)


_HINT = "orchestrator models --changes shows what changed"


def _model(catalog: Catalog, wanted_type: str, name: str) -> AnyModel:
    found = catalog.get(name)
    if found is None:
        raise NoLongerOffered(f"there is no model {name} any more", hint=_HINT)
    if found.type != wanted_type:
        raise NoLongerOffered(f"{name} is no {wanted_type} model any more", hint=_HINT)
    return found
