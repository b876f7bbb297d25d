"""Whether an item is valid, what it costs and what it will deliver: the sandbox's own reading of the guide."""

from dataclasses import dataclass
from decimal import Decimal

from orchestrator.base.money import ZERO
from orchestrator.base.payments import USDC_PER_CREDIT
from orchestrator.catalog.models import Catalog, ImageModel, VideoModel
from orchestrator.sandbox.aspect import choose_aspect_ratio, pixels
from orchestrator.sandbox.inputs import IMAGE_LISTS, VIDEO_FIELDS, Item, image_inputs, video_inputs
from orchestrator.sandbox.listing import model_key
from orchestrator.sandbox.media import Refused
from orchestrator.sandbox.records import ItemError, MediaType, Output
from orchestrator.sandbox.video_rules import check_video_inputs

FORMATS = {"png": "png", "jpeg": "jpeg", "jpg": "jpeg", "webp": "webp"}
_IMAGE_PIXELS = 512
_VIDEO_PIXELS = 320
_FAST = ("is_fast", "fast_mode")
_UHD = ("is_uhd", "uhd_mode")
_IN_HOUSE_ONLY = (*_FAST, *_UHD, "use_assistant", "prompt_assist", "use_prompt_assist")
_ECHOED = ("type", "model", "prompt", "aspect_ratio", "output_format", "duration_seconds")


@dataclass(frozen=True, slots=True)
class Judgement:
    """What becomes of one item: its price in credits, and in USDC before the cost of a settlement.

    With an `error` it is rejected and costs nothing.
    """

    echo: dict[str, object]
    type: MediaType | None
    model: str
    prompt: str
    credits: Decimal = ZERO
    usd: Decimal = ZERO
    output: Output | None = None
    error: ItemError | None = None


class Judge:
    """Judges items against a catalogue. `own_origin` is the origin of the sandbox's assets."""

    def __init__(self, catalog: Catalog, own_origin: str) -> None:
        self._catalog = catalog
        self._own_origin = own_origin

    def judge(self, item: Item) -> Judgement:
        """The verdict on one entry of `requests[]`; never raises for anything a caller can send."""
        try:
            return self._accept(item)
        except Refused as refused:
            error = ItemError(code=refused.code, message=refused.message)
        return Judgement(_echo(item), _media_type(item), _text(item, "model"), _text(item, "prompt"), error=error)

    def _accept(self, item: Item) -> Judgement:
        model = self._model(item)
        prompt = item.get("prompt")
        if not isinstance(prompt, str) or not prompt.strip():
            raise Refused("missing_field", "prompt is required and must be a non-empty string")
        if isinstance(model, ImageModel):
            cost, output = self._image(item, model)
            listed_usd = model.usd
        else:
            cost, output = self._video(item, model)
            listed = model.usd_by_duration.items()
            listed_usd = next((usd for length, usd in listed if length == item.get("duration_seconds")), None)
        echo = {**_echo(item), "model": model_key(model.name)}
        usd = cost * USDC_PER_CREDIT if listed_usd is None else listed_usd
        return Judgement(echo, model.type, model.name, prompt, cost, usd, output)

    def _model(self, item: Item) -> ImageModel | VideoModel:
        media_type = item.get("type")
        if media_type not in ("image", "video"):
            raise Refused("invalid_value", 'type must be "image" or "video"')
        name = item.get("model")
        if not isinstance(name, str) or not name:
            raise Refused("missing_field", "model is required")
        model = self._catalog.get(name)
        if model is None:
            raise Refused("unknown_model", f"no model named {name!r}")
        if model.type != media_type or not isinstance(model, ImageModel | VideoModel):
            raise Refused("wrong_model_type", f"{name} is a model of type {model.type}")
        return model

    def _image(self, item: Item, model: ImageModel) -> tuple[Decimal, Output]:
        _refuse_fields(item, ("duration_seconds", *VIDEO_FIELDS), "an image item")
        if model.creator != "imgnAI":
            _refuse_fields(item, _IN_HOUSE_ONLY, f"{model.name}, which imgnAI does not host")
        inputs = image_inputs(item, self._own_origin)
        if model.requires_image and not inputs:
            raise Refused("image_input_required", f"{model.name} needs an input image")
        # Models without documented references may still take one source image ("Image inputs" in the catalogue).
        limit = max(model.max_reference_images, 1)
        if len(inputs) > limit:
            raise Refused("too_many_reference_images", f"{model.name} takes at most {limit} input image(s)")
        output_format = item.get("output_format")
        if output_format is None:
            output_format = "png"
        if not isinstance(output_format, str) or output_format not in FORMATS:
            raise Refused("unsupported_output_format", "output_format must be png, jpeg or webp")
        ratio = choose_aspect_ratio(item.get("aspect_ratio"), model.aspect_ratios, next(iter(inputs), None))
        width, height = pixels(ratio, _longest_side(item))
        return model.credits, Output(width=width, height=height, format=FORMATS[output_format])

    def _video(self, item: Item, model: VideoModel) -> tuple[Decimal, Output]:
        _refuse_fields(item, (*IMAGE_LISTS, "output_format", *_IN_HOUSE_ONLY), "a video item")
        inputs = video_inputs(item, self._own_origin)
        duration = item.get("duration_seconds")
        if isinstance(duration, bool) or not isinstance(duration, int | float):
            raise Refused("missing_field", "duration_seconds is required and must be a number")
        cost = next((price for length, price in model.credits_by_duration.items() if length == duration), None)
        if cost is None:
            lengths = ", ".join(str(length) for length in sorted(model.credits_by_duration))
            raise Refused("unsupported_duration", f"duration_seconds must be one of {lengths}")
        check_video_inputs(model, inputs)
        picture = inputs.first or next(iter(inputs.references), None)
        ratio = choose_aspect_ratio(item.get("aspect_ratio"), model.aspect_ratios, picture)
        width, height = pixels(ratio, _VIDEO_PIXELS)
        seconds = float(duration)
        if "audio_drives_duration" in model.custom_rules and inputs.sounds and inputs.sounds[0].seconds:
            seconds = round(inputs.sounds[0].seconds, 3)
        output = Output(
            width=width, height=height, format="mp4", duration_seconds=seconds, has_audio=model.generates_audio
        )
        return cost, output


def _refuse_fields(item: Item, fields: tuple[str, ...], where: str) -> None:
    for field in fields:
        if item.get(field) is not None:
            raise Refused("unsupported_field", f"{field} is not a field of {where}")


def _longest_side(item: Item) -> int:
    """Half for fast, double for UHD, which takes precedence (guide, "Image attachment rules")."""
    if any(item.get(field) is True for field in _UHD):
        return _IMAGE_PIXELS * 2
    if any(item.get(field) is True for field in _FAST):
        return _IMAGE_PIXELS // 2
    return _IMAGE_PIXELS


def _echo(item: Item) -> dict[str, object]:
    """The item as answers repeat it: without its media."""
    return {field: item[field] for field in _ECHOED if item.get(field) is not None}


def _media_type(item: Item) -> MediaType | None:
    match item.get("type"):
        case "image":
            return "image"
        case "video":
            return "video"
    return None


def _text(item: Item, field: str) -> str:
    value = item.get(field)
    return value if isinstance(value, str) else ""
