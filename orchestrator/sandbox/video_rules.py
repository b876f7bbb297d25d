"""The rules on a video item's media inputs, general and per model.

Source: guide, "Video media input rules" and "Video Custom Rule Glossary".
"""

from orchestrator.catalog.models import VideoModel
from orchestrator.sandbox.inputs import VideoInputs
from orchestrator.sandbox.media import Refused

_AUDIO_FILES_AT_ALL = 4
_AUDIO_SECONDS = 15.0


def check_video_inputs(model: VideoModel, inputs: VideoInputs) -> None:
    """Raises Refused for the first input that `model` does not take or that breaks one of its custom rules."""
    _check_slots(model, inputs)
    _check_counts(model, inputs)
    for rule in model.custom_rules:
        message = _broken(rule, inputs)
        if message:
            raise Refused(rule, message)


def _check_slots(model: VideoModel, inputs: VideoInputs) -> None:
    slots = {"first": model.first_frame, "mid": model.mid_frame, "last": model.last_frame}
    for slot, supported in slots.items():
        if getattr(inputs, slot) is not None and not supported:
            raise Refused(f"{slot}_frame_unsupported", f"{model.name} takes no {slot} frame")
    if inputs.references and not model.max_reference_images:
        raise Refused("reference_images_unsupported", f"{model.name} takes no reference images")
    if inputs.sounds and not model.max_audio_files:
        raise Refused("audio_unsupported", f"{model.name} takes no audio")


def _check_counts(model: VideoModel, inputs: VideoInputs) -> None:
    pictures = (inputs.first, inputs.mid, inputs.last, *inputs.references)
    if model.requires_image and not any(pictures):
        raise Refused("image_input_required", f"{model.name} needs an input image")
    if len(inputs.references) > model.max_reference_images:
        raise Refused(
            "too_many_reference_images", f"{model.name} takes at most {model.max_reference_images} references"
        )
    limit = min(model.max_audio_files, _AUDIO_FILES_AT_ALL)
    if len(inputs.sounds) > limit:
        raise Refused("too_many_audio_files", f"{model.name} takes at most {limit} audio file(s)")


def _broken(rule: str, inputs: VideoInputs) -> str | None:
    """What is wrong under `rule`, or None. Sounds behind a URL have no known length and count as 0 seconds."""
    framed = inputs.first is not None or inputs.last is not None
    referenced, sounding = bool(inputs.references), bool(inputs.sounds)
    match rule:
        case "audio_15s_max" if sum(sound.seconds or 0 for sound in inputs.sounds) > _AUDIO_SECONDS:
            return "the audio inputs together are longer than 15 seconds"
        case "audio_ff_only" if sounding and (inputs.mid or inputs.last or referenced):
            return "audio goes only with a first frame"
        case "audio_needs_reference_image" if sounding and not referenced:
            return "audio needs a reference image"
        case "audio_or_fflf_exclusive" if sounding and framed:
            return "audio cannot be combined with a first or last frame"
        case "lf_needs_ff" if inputs.last is not None and inputs.first is None:
            return "a last frame needs a first frame"
        case "reference_ff_only" if referenced and inputs.last is not None:
            return "reference images cannot be combined with a last frame"
        case "reference_no_ff_or_lf" if referenced and framed:
            return "reference images cannot be combined with a first or last frame"
    return None
