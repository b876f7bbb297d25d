"""The JSON Schema (2020-12) of a manifest, for editors: made from the tables that judge manifests.

It takes everything that `plan` takes. It does not see what lies behind templates and files, nor rules across fields.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from orchestrator.catalog.models import Catalog, ImageModel, TextModel, VideoModel
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
    PROMPT_ASSIST,
    SINGLE_IMAGES,
    UHD,
)

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_REQUIRED = ("version", "name", "jobs")
_WITHOUT_DEFAULT = ("id", *EXPANDING_KEYS, "takes", "gate")
_MEDIUM: JsonSchema = {"$ref": "#/$defs/medium"}
_MEDIA: JsonSchema = or_template({"type": "array", "items": _MEDIUM})
_IGNORED: dict[str, JsonSchema] = {"^x-": {"description": "Ignored: a home for anchors and notes."}}


def manifest_schema(catalog: Catalog) -> JsonSchema:
    """The schema of a manifest in YAML or JSON, with the models of `catalog`."""
    models = [model for model in catalog.models.values() if not isinstance(model, TextModel)]
    fields = {name: _field(name, models) for name in sorted(ALL_FIELDS)}
    own = {name: job_key(name) for name in JOB_KEYS}
    by_model = list(_by_model(models))
    defaults = {name: schema for name, schema in (own | fields).items() if name not in _WITHOUT_DEFAULT}
    return {
        "$schema": _DIALECT,
        "title": "Manifest of a collection of images and videos",
        **mapping_of({name: manifest_key(name) for name in MANIFEST_KEYS}, patternProperties=_IGNORED),
        "required": list(_REQUIRED),
        "$defs": {
            **definitions(),
            "medium": _medium(),
            "reference_asset": _reference_asset(),
            "job": mapping_of(own | fields, required=["id"], allOf=by_model),
            "defaults": mapping_of(defaults),
        },
    }


def _field(name: str, models: list[ImageModel | VideoModel]) -> JsonSchema:
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
    return _FIELDS[name] if name != "model" else _model_field(models)


def _switch(name: str) -> str:
    kinds = {FAST: "The fast mode", UHD: "The UHD mode, which goes before the fast one", PROMPT_ASSIST: "Prompt assist"}
    return next(words for names, words in kinds.items() if name in names)


def _model_field(models: list[ImageModel | VideoModel]) -> JsonSchema:
    offered = [{"const": model.name, "description": _described(model)} for model in models]
    return {"description": "The public name of a model (`orchestrator models`).", **or_template(*offered)}


def _described(model: ImageModel | VideoModel) -> str:
    if isinstance(model, ImageModel):
        return f"{model.display_name}: an image, {model.credits} credits"
    prices = ", ".join(f"{price} for {seconds} s" for seconds, price in sorted(model.credits_by_duration.items()))
    return f"{model.display_name}: a video, credits {prices}"


def _by_model(models: Iterable[ImageModel | VideoModel]) -> Iterable[JsonSchema]:
    """For models that offer the same: what the fields of a job that names one of them may say."""
    alike: dict[tuple[Any, ...], list[str]] = defaultdict(list)
    for model in models:
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


_VIDEO_IMAGE_DATA: dict[str, JsonSchema] = {
    **{name: {"description": f"The {slot.replace('_', ' ')}.", **_MEDIUM} for name, slot in FRAMES.items()},
    "reference_image_urls": {"description": "Pictures of what is to be seen, in models that take them.", **_MEDIA},
    "audio_input_urls": {"description": f"At most {MAX_AUDIO_FILES} pieces of audio, as the model allows.", **_MEDIA},
}

_FIELDS: dict[str, JsonSchema] = {
    "type": {
        "description": "image or video; may be left out where the model tells it.",
        **or_template({"enum": ["image", "video"]}),
    },
    "prompt": {"type": "string", "description": "What is to be made."},
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
}
