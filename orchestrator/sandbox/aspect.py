"""Aspect ratios: the choice that `auto` makes, and the pixels of a result."""

import math
from collections.abc import Sequence

from orchestrator.sandbox.media import Picture, Refused


def choose_aspect_ratio(asked: object, supported: Sequence[str], picture: Picture | None) -> str:
    """The ratio an item is made in. Raises Refused.

    Source: guide, "Image attachment rules": `auto` takes the supported ratio closest to the first image; without an
    image it is 1:1 where the model has it. Of an image behind a URL the sandbox knows no size.
    """
    if asked is None:
        raise Refused("missing_field", "aspect_ratio is required")
    if asked != "auto":
        if asked not in supported:
            raise Refused("unsupported_aspect_ratio", f"aspect_ratio must be one of {', '.join(supported)}")
        return str(asked)
    if picture is not None and picture.width and picture.height:
        target = math.log(picture.width / picture.height)
        return min(supported, key=lambda ratio: abs(math.log(ratio_of(ratio)) - target))
    if "1:1" in supported:
        return "1:1"
    if picture is None:
        raise Refused("unsupported_aspect_ratio", "auto needs an image input: this model has no 1:1")
    return supported[0]


def ratio_of(aspect_ratio: str) -> float:
    """Width over height."""
    width, height = aspect_ratio.split(":")
    return float(width) / float(height)


def pixels(aspect_ratio: str, longest_side: int) -> tuple[int, int]:
    """Width and height with the given longest side; even, as video encoders want it."""
    ratio = ratio_of(aspect_ratio)
    width = longest_side if ratio >= 1 else longest_side * ratio
    height = longest_side / ratio if ratio >= 1 else longest_side
    return _even(width), _even(height)


def _even(length: float) -> int:
    return max(2, round(length / 2) * 2)
