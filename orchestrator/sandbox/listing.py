"""The catalogue as `GET /v1/models` tells it, in the guide's field names."""

from orchestrator.base.money import canonical
from orchestrator.catalog.models import Catalog, ImageModel, TextModel, VideoModel

_KEYS_IN_THE_GUIDE = {"gpt-image-2": "gpt2image"}


def model_key(name: str) -> str:
    """The canonical key that answers use in place of the public name (guide, "Response handling rules")."""
    return _KEYS_IN_THE_GUIDE.get(name, name.replace("-", ""))


def models_document(catalog: Catalog) -> dict[str, object]:
    """The whole body. Its envelope is the OpenAI-compatible list; the guide leaves it open."""
    return {"object": "list", "data": [_entry(model) for model in catalog.models.values()]}


def _entry(model: ImageModel | VideoModel | TextModel) -> dict[str, object]:
    common: dict[str, object] = {
        "id": model.name,
        "object": "model",
        "name": model.name,
        "model_key": model_key(model.name),
        "display_name": model.display_name,
        "type": model.type,
        "creator": model.creator,
        "description": model.description,
    }
    match model:
        case ImageModel():
            return common | _image_fields(model)
        case VideoModel():
            return common | _video_fields(model)
        case TextModel():
            return common | _text_fields(model)


def _image_fields(model: ImageModel) -> dict[str, object]:
    return {
        "credits": canonical(model.credits),
        "supported_aspects": list(model.aspect_ratios),
        "multi_image_inputs_allowed": model.max_reference_images,
        "requires_image_input": model.requires_image,
    }


def _video_fields(model: VideoModel) -> dict[str, object]:
    return {
        "video_lengths_and_costs": {
            str(seconds): canonical(cost) for seconds, cost in model.credits_by_duration.items()
        },
        "supported_aspects": list(model.aspect_ratios),
        "maximum_reference_images": model.max_reference_images,
        "maximum_reference_audio_files": model.max_audio_files,
        "supports_first_frame": model.first_frame,
        "supports_mid_frame": model.mid_frame,
        "supports_last_frame": model.last_frame,
        "supports_reference_images": model.max_reference_images > 0,
        "supports_audio_input": model.max_audio_files > 0,
        "requires_image_input": model.requires_image,
        "audio_gen_model": model.generates_audio,
        "custom_rules": list(model.custom_rules),
    }


def _text_fields(model: TextModel) -> dict[str, object]:
    return {
        "credits_per_million_input": canonical(model.credits_per_million_input),
        "credits_per_million_output": canonical(model.credits_per_million_output),
        "context_length": model.context_length,
        "max_output_tokens": model.max_output_tokens,
        "privacy": model.privacy,
        "input_types": list(model.input_types),
    }
