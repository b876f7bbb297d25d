"""What a job costs, in exact credits. Where the guide gives no price, the model's dearest is reserved."""

from decimal import Decimal
from fractions import Fraction
from math import floor

from orchestrator.base.diagnostics import Code
from orchestrator.base.money import ZERO, canonical
from orchestrator.catalog.models import ImageModel, VideoModel
from orchestrator.manifest.nodes import Scalar
from orchestrator.planner.draft import Draft
from orchestrator.planner.fields import FAST, UHD


def work_price(model: ImageModel | VideoModel, seconds: object, *, has_audio: bool) -> Decimal | None:
    """The credits reserved for one item, by the one rule there is; None where the duration has no price.

    An image has the model's one price, also for UHD and for fast: the guide gives them none. A video whose
    duration follows its audio reserves the dearest duration. `seconds` is what the item says, whatever that is.
    """
    if isinstance(model, ImageModel):
        return model.credits
    if _follows_audio(model, has_audio=has_audio):
        return max(model.credits_by_duration.values())
    return model.credits_by_duration.get(seconds) if type(seconds) is int else None


def price(draft: Draft) -> Decimal:
    """The job's estimate; zero where a fault of the job leaves it without a price."""
    has_audio = bool(draft.inputs.of("audio"))
    entry = draft.fields.get("duration_seconds")
    seconds = entry.value.value if entry and isinstance(entry.value, Scalar) else None
    amount = work_price(draft.model, seconds, has_audio=has_audio)
    if amount is not None:
        _warn_of_unknown_price(draft, amount, has_audio=has_audio)
    return amount or ZERO


def dollars_in_credits(usd: Decimal, usd_per_credit: Decimal) -> Decimal | None:
    """The credits that so many dollars buy, rounded down to 0.1; None where credits cost no dollars."""
    if usd_per_credit == 0:
        return None
    tenths = floor(Fraction(usd) * 10 / Fraction(usd_per_credit))
    return Decimal(tenths).scaleb(-1)


def _follows_audio(model: VideoModel, *, has_audio: bool) -> bool:
    return has_audio and "audio_drives_duration" in model.custom_rules


def _warn_of_unknown_price(draft: Draft, amount: Decimal, *, has_audio: bool) -> None:
    """Says where the guide gives no price and the dearest known is reserved. UHD wins over fast."""
    if isinstance(draft.model, VideoModel):
        if _follows_audio(draft.model, has_audio=has_audio):
            _warn_reserve(draft, "a duration that follows the audio", amount, "duration_seconds")
        return
    for what, names in (("UHD", UHD), ("fast", FAST)):
        if draft.model.is_in_house and draft.is_on(*names):
            _warn_reserve(draft, what, amount, next(name for name in names if name in draft.fields))
            return


def _warn_reserve(draft: Draft, what: str, amount: Decimal, field: str) -> None:
    entry = draft.fields.get(field)
    message = (
        f"the guide gives no price for {what}; the estimate reserves the dearest known, {canonical(amount)} credits"
    )
    draft.findings.warn(Code.PRICE_UNKNOWN, entry.value if entry else draft.node, message, field)
