"""What a job costs, in exact credits. Where the guide gives no price, the model's dearest is reserved."""

from decimal import Decimal
from fractions import Fraction
from math import floor

from orchestrator.base.diagnostics import Code
from orchestrator.base.money import ZERO, canonical
from orchestrator.catalog.models import ImageModel, VideoModel
from orchestrator.manifest.nodes import Scalar
from orchestrator.manifest.schema import Budget
from orchestrator.planner.draft import Draft
from orchestrator.planner.fields import FAST, UHD


def price(draft: Draft) -> Decimal:
    """The job's estimate; zero where a fault of the job leaves it without a price."""
    if isinstance(draft.model, VideoModel):
        return _video_price(draft, draft.model)
    return _image_price(draft, draft.model)


def budget_in_credits(budget: Budget, usd_per_credit: Decimal) -> Decimal | None:
    """The budget in credits, a dollar budget rounded down to 0.1; None where credits cost no dollars."""
    if budget.unit == "credits":
        return budget.amount
    if usd_per_credit == 0:
        return None
    tenths = floor(Fraction(budget.amount) * 10 / Fraction(usd_per_credit))
    return Decimal(tenths).scaleb(-1)


def _video_price(draft: Draft, model: VideoModel) -> Decimal:
    if "audio_drives_duration" in model.custom_rules and draft.inputs.of("audio"):
        dearest = max(model.credits_by_duration.values())
        _warn_reserve(draft, "a duration that follows the audio", dearest, "duration_seconds")
        return dearest
    entry = draft.fields.get("duration_seconds")
    seconds = entry.value.value if entry and isinstance(entry.value, Scalar) else None
    return model.credits_by_duration.get(seconds, ZERO) if isinstance(seconds, int) else ZERO


def _image_price(draft: Draft, model: ImageModel) -> Decimal:
    """The model's one price, also for UHD (which wins over fast) and for fast: the guide gives them none."""
    for what, names in (("UHD", UHD), ("fast", FAST)):
        if model.is_in_house and draft.is_on(*names):
            _warn_reserve(draft, what, model.credits, next(name for name in names if name in draft.fields))
            break
    return model.credits


def _warn_reserve(draft: Draft, what: str, amount: Decimal, field: str) -> None:
    entry = draft.fields.get(field)
    message = (
        f"the guide gives no price for {what}; the estimate reserves the dearest known, {canonical(amount)} credits"
    )
    draft.findings.warn(Code.PRICE_UNKNOWN, entry.value if entry else draft.node, message, field)
