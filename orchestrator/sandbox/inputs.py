"""All media inputs of an item, gathered from the fields and aliases that the guide documents.

Source: guide, "Image attachment rules", "Video media input rules".
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from orchestrator.sandbox.media import Picture, Refused, Sound, read_picture, read_sound

Item = Mapping[str, object]

IMAGE_LISTS = ("image_urls", "input_images", "input_image_urls")
SINGLE_IMAGES = ("image_url", "input_image_url", "input_image", "input_image_b64")
FRAMES = ("first_frame_image_url", "mid_frame_image_url", "last_frame_image_url")
VIDEO_FIELDS = ("video_image_data", "reference_image_urls", "reference_assets")
_IMAGE_KINDS = ("style_reference", "reference_image", "image")
_AUDIO_KINDS = ("audio", "source_audio", "reference_audio", "audio_reference")
_SLOTS = (*FRAMES, "reference_image_urls", "audio_input_urls")


@dataclass(frozen=True, slots=True)
class VideoInputs:
    """What a video item is conditioned on."""

    first: Picture | None
    mid: Picture | None
    last: Picture | None
    references: tuple[Picture, ...]
    sounds: tuple[Sound, ...]


def image_inputs(item: Item, own_origin: str) -> tuple[Picture, ...]:
    """The source images of an image item, in the order of the fields. Raises Refused."""
    found = [
        read_picture(value, f"{field}[{index}]", own_origin)
        for field in IMAGE_LISTS
        for index, value in enumerate(_list(item, field))
    ]
    found += [read_picture(item[field], field, own_origin) for field in SINGLE_IMAGES if item.get(field) is not None]
    return tuple(found)


def video_inputs(item: Item, own_origin: str) -> VideoInputs:
    """The frames, references and sounds of a video item. Raises Refused."""
    data = _video_image_data(item)
    first, mid, last = (
        None if data.get(slot) is None else read_picture(data[slot], slot, own_origin) for slot in FRAMES
    )
    references = [
        read_picture(value, f"reference_image_urls[{index}]", own_origin)
        for source in (data, item)
        for index, value in enumerate(_list(source, "reference_image_urls"))
    ]
    sounds = [
        read_sound(value, f"audio_input_urls[{index}]", own_origin)
        for index, value in enumerate(_list(data, "audio_input_urls"))
    ]
    for asset in _reference_assets(item, own_origin):
        if isinstance(asset, Picture):
            references.append(asset)
        else:
            sounds.append(asset)
    return VideoInputs(first, mid, last, tuple(references), tuple(sounds))


def _video_image_data(item: Item) -> Item:
    """`video_image_data` with the top-level first-frame aliases folded in."""
    data = item.get("video_image_data")
    if data is None:
        data = {}
    if not isinstance(data, dict):
        raise Refused("invalid_value", "video_image_data must be an object")
    unknown = sorted(set(data) - set(_SLOTS))
    if unknown:
        raise Refused("unknown_field", f"video_image_data.{unknown[0]} is not a media slot")
    first_frames = [item[field] for field in SINGLE_IMAGES if item.get(field) is not None]
    if data.get("first_frame_image_url") is not None:
        first_frames.append(data["first_frame_image_url"])
    if any(frame != first_frames[0] for frame in first_frames):
        raise Refused("invalid_value", "several different first frames were given")
    return {**data, "first_frame_image_url": first_frames[0] if first_frames else None}


def _reference_assets(item: Item, own_origin: str) -> Iterator[Picture | Sound]:
    for index, asset in enumerate(_list(item, "reference_assets")):
        field = f"reference_assets[{index}]"
        if not isinstance(asset, dict):
            raise Refused("invalid_value", f"{field} must be an object")
        values = [asset[name] for name in ("url", "base64_data") if asset.get(name) is not None]
        if len(values) != 1:
            raise Refused("invalid_value", f"{field} needs either url or base64_data")
        if asset.get("kind") in _IMAGE_KINDS:
            yield read_picture(values[0], field, own_origin)
        elif asset.get("kind") in _AUDIO_KINDS:
            yield read_sound(values[0], field, own_origin, raw_base64="base64_data" in asset)
        else:
            raise Refused("invalid_value", f"{field}.kind must be one of {', '.join(_IMAGE_KINDS + _AUDIO_KINDS)}")


def _list(source: Item, field: str) -> list[object]:
    values = source.get(field)
    if values is None:
        return []
    if not isinstance(values, list):
        raise Refused("invalid_value", f"{field} must be an array")
    return values
