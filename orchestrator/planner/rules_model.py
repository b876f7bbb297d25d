"""Rules about what a model offers: aspect ratios, durations, output formats, in-house switches."""

from collections.abc import Iterable
from decimal import Decimal
from math import inf, isfinite, log

from orchestrator.base.diagnostics import Code
from orchestrator.catalog.models import ImageModel, VideoModel
from orchestrator.manifest import values
from orchestrator.manifest.nodes import Scalar
from orchestrator.manifest.suggest import did_you_mean
from orchestrator.planner.draft import Draft
from orchestrator.planner.fields import IN_HOUSE_SWITCHES


def check_aspect_ratio(draft: Draft) -> None:
    """`auto` takes the ratio of the first image (frame first, then reference), else 1:1 where that is offered."""
    entry = draft.fields.get("aspect_ratio")
    ratio = values.text(entry.value, "aspect_ratio", draft.findings) if entry else None
    model = draft.model
    if entry is None or ratio is None or ratio in model.aspect_ratios:
        return
    offered = f"{model.name} offers {', '.join(model.aspect_ratios)}"
    if ratio != "auto":
        message = f"{offered}{_nearest_ratio(ratio, model.aspect_ratios)}"
    elif "1:1" in model.aspect_ratios or draft.inputs.of("image", "first_frame", "reference"):
        return
    else:
        message = f"`auto` without an image means 1:1; {offered}"
    draft.findings.error(Code.UNSUPPORTED_ASPECT_RATIO, entry.value, message, "aspect_ratio")


def check_duration(draft: Draft, model: VideoModel) -> None:
    """A video is as long as one of the durations that have a price."""
    entry = draft.fields.get("duration_seconds")
    if entry is None:
        return
    value = entry.value.value if isinstance(entry.value, Scalar) else None
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        message = f"`duration_seconds` must be a number, it is {values.describe(entry.value)}"
        draft.findings.error(Code.INVALID_VALUE, entry.value, message, "duration_seconds")
    elif isinstance(value, Decimal) or value not in model.credits_by_duration:
        durations = sorted(model.credits_by_duration)
        offered = ", ".join(str(duration) for duration in durations)
        nearest = _nearest_duration(value, durations)
        message = f"{model.name} offers {offered} seconds; did you mean {nearest}?"
        draft.findings.error(Code.UNSUPPORTED_DURATION, entry.value, message, "duration_seconds")


def check_output_format(draft: Draft, model: ImageModel) -> None:
    """`jpg` is `jpeg` (guide, image attachment rules)."""
    entry = draft.fields.get("output_format")
    output_format = values.text(entry.value, "output_format", draft.findings) if entry else None
    if entry is None or output_format is None:
        return
    offered = [*model.output_formats, *(["jpg"] if "jpeg" in model.output_formats else [])]
    if output_format not in offered:
        message = f"{model.name} offers {', '.join(model.output_formats)}{did_you_mean(output_format, offered)}"
        draft.findings.error(Code.UNSUPPORTED_OUTPUT_FORMAT, entry.value, message, "output_format")


def check_switches(draft: Draft, model: ImageModel) -> None:
    """Fast, UHD and prompt assist exist on imgnAI's own image models only."""
    for name in IN_HOUSE_SWITCHES:
        entry = draft.fields.get(name)
        if entry is None:
            continue
        if not model.is_in_house:
            message = f"`{name}` works on imgnAI's own image models only, {model.name} is by {model.creator}"
            draft.findings.error(Code.UNSUPPORTED_FIELD, entry.key, message, name)
        elif not isinstance(entry.value, Scalar) or not isinstance(entry.value.value, bool):
            message = f"`{name}` must be true or false, it is {values.describe(entry.value)}"
            draft.findings.error(Code.INVALID_VALUE, entry.value, message, name)


def _nearest_ratio(text: str, offered: Iterable[str]) -> str:
    wanted = _shape(text)
    if wanted is None:
        return did_you_mean(text, ["auto", *offered])
    nearest = min(offered, key=lambda ratio: abs((_shape(ratio) or 0) - wanted))
    return f"; did you mean {nearest}?"


def _nearest_duration(value: int | Decimal, durations: list[int]) -> int:
    try:
        wanted = float(value)
    except OverflowError:
        wanted = inf
    if not isfinite(wanted):
        return durations[-1]
    return min(durations, key=lambda duration: abs(duration - wanted))


def _shape(ratio: str) -> float | None:
    """A ratio on a scale where 1:2 and 2:1 are equally far from 1:1."""
    width, _, height = ratio.replace("x", ":").partition(":")
    try:
        return log(float(width) / float(height))
    except (ValueError, ZeroDivisionError, OverflowError):
        return None
