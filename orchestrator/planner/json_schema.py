"""The JSON Schema (2020-12) of a manifest, for editors: made from the tables that judge manifests.

It takes everything that `plan` takes. It does not see what lies behind templates and files, nor rules across fields.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from orchestrator.catalog.models import AnyModel, Catalog, ImageModel, TextModel, VideoModel
from orchestrator.manifest.job_keys import EXPANDING_KEYS, JOB_KEYS
from orchestrator.manifest.key_schemas import (
    JsonSchema,
    definitions,
    job_key,
    manifest_key,
    mapping_of,
    or_template,
)
from orchestrator.manifest.schema import MANIFEST_KEYS
from orchestrator.planner.fields import (
    ALL_FIELDS,
    ASSET_SLOTS,
    FAST,
    FRAMES,
    IMAGE_LISTS,
    IN_HOUSE_SWITCHES,
    MAX_AUDIO_FILES,
    MAX_TOKENS,
    PROMPT_ASSIST,
    SINGLE_IMAGES,
    UHD,
)
from orchestrator.planner.rules_text import RANGES, RESPONSE_FORMATS, ROLES

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_REQUIRED = ("version", "name", "jobs")
_WITHOUT_DEFAULT = ("id", *EXPANDING_KEYS, "takes", "gate")
_MEDIUM: JsonSchema = {"$ref": "#/$defs/medium"}
_MEDIA: JsonSchema = or_template({"type": "array", "items": _MEDIUM})
_IGNORED: dict[str, JsonSchema] = {"^x-": {"description": "Ignored: a home for anchors and notes."}}


def manifest_schema(catalog: Catalog) -> JsonSchema:
    """The schema of a manifest in YAML or JSON, with the models of `catalog`."""
    models = list(catalog.models.values())
    fields = {name: _field(name, models) for name in sorted(ALL_FIELDS)}
    own = {name: job_key(name) for name in JOB_KEYS}
    by_model = list(_by_model(models))
    defaults = {name: schema for name, schema in (own | fields).items() if name not in _WITHOUT_DEFAULT}
    return {
        "$schema": _DIALECT,
        "title": "Manifest of a collection of images, videos and texts",
        **mapping_of({name: manifest_key(name) for name in MANIFEST_KEYS}, patternProperties=_IGNORED),
        "required": list(_REQUIRED),
        "$defs": {
            **definitions(),
            "medium": _medium(),
            "reference_asset": _reference_asset(),
            "message": _message(),
            "job": mapping_of(own | fields, required=["id"], allOf=by_model),
            "defaults": mapping_of(defaults),
        },
    }


def _field(name: str, models: list[AnyModel]) -> JsonSchema:
    if name in SINGLE_IMAGES:
        description = "The picture to start from: of an image job its input, of a video its first frame."
        return {"description": description, **_MEDIUM}
    if name in IMAGE_LISTS:
        return {"description": "The input pictures of an image job.", **_MEDIA}
    if name in IN_HOUSE_SWITCHES:
        return {
            "description": f"{_switch(name)}; on imgnAI's own image models only.",
            **or_template({"type": "boolean"}),
        }
    if name in MAX_TOKENS:
        description = "The most tokens that a text may have, which is also what is set aside for it."
        return {"description": description, **or_template({"type": "integer", "minimum": 1})}
    if name in RANGES:
        low, high = RANGES[name]
        return {
            "description": f"Of a text job: from {low} to {high}.",
            **or_template({"type": "number", "minimum": low, "maximum": high}),
        }
    return _FIELDS[name] if name != "model" else _model_field(models)


def _switch(name: str) -> str:
    kinds = {FAST: "The fast mode", UHD: "The UHD mode, which goes before the fast one", PROMPT_ASSIST: "Prompt assist"}
    return next(words for names, words in kinds.items() if name in names)


def _model_field(models: list[AnyModel]) -> JsonSchema:
    offered = [{"const": model.name, "description": _described(model)} for model in models]
    return {"description": "The public name of a model (`orchestrator models`).", **or_template(*offered)}


def _described(model: AnyModel) -> str:
    if isinstance(model, TextModel):
        prices = f"{model.credits_per_million_input} and {model.credits_per_million_output} credits"
        return f"{model.display_name}: a text, {prices} for a million tokens in and out"
    if isinstance(model, ImageModel):
        return f"{model.display_name}: an image, {model.credits} credits"
    prices = ", ".join(f"{price} for {seconds} s" for seconds, price in sorted(model.credits_by_duration.items()))
    return f"{model.display_name}: a video, credits {prices}"


def _by_model(models: Iterable[AnyModel]) -> Iterable[JsonSchema]:
    """For models that offer the same: what the fields of a job that names one of them may say."""
    alike: dict[tuple[Any, ...], list[str]] = defaultdict(list)
    for model in models:
        if isinstance(model, TextModel):
            continue
        durations = tuple(sorted(model.credits_by_duration)) if isinstance(model, VideoModel) else ()
        alike[model.aspect_ratios, durations].append(model.name)
    for (ratios, durations), names in alike.items():
        offered: dict[str, JsonSchema] = {"aspect_ratio": or_template({"enum": [*ratios, "auto"]})}
        if durations:
            offered["duration_seconds"] = or_template({"enum": list(durations)})
        yield {"if": {"properties": {"model": {"enum": names}}, "required": ["model"]}, "then": {"properties": offered}}


def _medium() -> JsonSchema:
    reference = mapping_of(
        {
            "from": {"type": "string", "description": "The id of the job whose result this is."},
            "use": {"enum": ["original", "final_frame"], "description": "final_frame goes on from a video's end."},
        },
        required=["from"],
    )
    description = "https://, s3://, a local path, a data URL, raw base64, or another job's result: {from: job}."
    return {"description": description, "anyOf": [{"type": "string", "minLength": 1}, reference]}


def _reference_asset() -> JsonSchema:
    kind = or_template({"enum": list(ASSET_SLOTS)})
    return or_template(mapping_of({"kind": kind, "url": _MEDIUM, "base64_data": _MEDIUM}, required=["kind"]))


def _message() -> JsonSchema:
    text = mapping_of({"type": {"const": "text"}, "text": {"type": "string"}}, required=["type", "text"])
    image_url = mapping_of({"url": _MEDIUM, "detail": {"type": "string"}}, required=["url"])
    picture = mapping_of({"type": {"const": "image_url"}, "image_url": image_url}, required=["type", "image_url"])
    content = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"anyOf": [text, picture]}, "minItems": 1}]}
    return mapping_of(
        {
            "role": or_template({"enum": list(ROLES)}),
            "content": content,
            "name": {"type": "string"},
            "tool_calls": {"type": "array"},
            "tool_call_id": {"type": "string"},
        },
        required=["role"],
    )


_VIDEO_IMAGE_DATA: dict[str, JsonSchema] = {
    **{name: {"description": f"The {slot.replace('_', ' ')}.", **_MEDIUM} for name, slot in FRAMES.items()},
    "reference_image_urls": {"description": "Pictures of what is to be seen, in models that take them.", **_MEDIA},
    "audio_input_urls": {"description": f"At most {MAX_AUDIO_FILES} pieces of audio, as the model allows.", **_MEDIA},
}

_FIELDS: dict[str, JsonSchema] = {
    "type": {
        "description": "image, video or text; may be left out where the model tells it.",
        **or_template({"enum": ["image", "video", "text"]}),
    },
    "prompt": {"type": "string", "description": "What is to be made; of a text job the one message of a user."},
    "aspect_ratio": {
        "type": "string",
        "description": "Width to height, one that the model offers; auto takes that of the first picture.",
    },
    "output_format": {"type": "string", "description": "The format of an image: png, jpeg or webp."},
    "duration_seconds": {
        "description": "The length of a video, one that the model offers.",
        **or_template({"type": "integer", "minimum": 1}),
    },
    "video_image_data": {"description": "The media of a video job.", **or_template(mapping_of(_VIDEO_IMAGE_DATA))},
    "reference_image_urls": {"description": "The same as video_image_data.reference_image_urls.", **_MEDIA},
    "reference_assets": {
        "description": "Reference pictures and audio of a video job, each with its kind.",
        **or_template({"type": "array", "items": {"$ref": "#/$defs/reference_asset"}}),
    },
    "messages": {
        "description": "What a text job asks, in the form of OpenAI's chat completions.",
        **or_template({"type": "array", "items": {"$ref": "#/$defs/message"}, "minItems": 1}),
    },
    "response_format": {
        "description": "The form of a text: json_object and json_schema are stored as .json.",
        **or_template(
            {
                "type": "object",
                "properties": {"type": {"enum": list(RESPONSE_FORMATS)}, "json_schema": {"type": "object"}},
                "required": ["type"],
            }
        ),
    },
    "stop": {
        "description": "Where a text ends.",
        "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
    },
    "tools": {"description": "What a text model may call.", **or_template({"type": "array", "minItems": 1})},
    "tool_choice": {"description": "Which of the tools it may or must call.", "type": ["string", "object"]},
    "parallel_tool_calls": {"description": "Several calls at once.", **or_template({"type": "boolean"})},
    "reasoning": {"description": "How a text model thinks.", **or_template({"type": "object"})},
    "reasoning_effort": {"description": "How long a text model thinks, such as low or high.", "type": "string"},
    "stream": {"description": "Only false: whole answers are stored.", **or_template({"const": False})},
    "stream_options": {"description": "Goes with `stream`, which a batch cannot have.", "not": {}},
}
