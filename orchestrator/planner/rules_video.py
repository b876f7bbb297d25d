"""Rules about the media slots of a video job (guide, "Video media input rules")."""

from orchestrator.base.diagnostics import Code
from orchestrator.catalog.models import VideoModel
from orchestrator.planner.draft import Draft
from orchestrator.planner.fields import MAX_AUDIO_FILES
from orchestrator.planner.inputs import MediaInput


def check_frames(draft: Draft, model: VideoModel) -> None:
    """First, mid and last frames go to models that have the slot."""
    _check_frame(draft, model.first_frame, draft.inputs.of("first_frame"), Code.FIRST_FRAME_UNSUPPORTED, "first")
    _check_frame(draft, model.mid_frame, draft.inputs.of("mid_frame"), Code.MID_FRAME_UNSUPPORTED, "mid")
    _check_frame(draft, model.last_frame, draft.inputs.of("last_frame"), Code.LAST_FRAME_UNSUPPORTED, "last")


def check_references(draft: Draft, model: VideoModel) -> None:
    """Reference images, up to the model's number."""
    given = draft.inputs.of("reference")
    limit = model.max_reference_images
    if given and limit == 0:
        message = f"{model.name} takes no reference images"
        draft.findings.error(Code.REFERENCE_IMAGES_UNSUPPORTED, given[0].whole, message, given[0].field)
    elif len(given) > limit:
        message = f"{model.name} takes at most {_count(limit, 'reference image')}; {len(given)} are given"
        excess = given[limit]
        draft.findings.error(Code.TOO_MANY_REFERENCE_IMAGES, excess.whole, message, excess.field)


def check_audio(draft: Draft, model: VideoModel) -> None:
    """Audio files, up to the model's number and the cap over all models."""
    given = draft.inputs.of("audio")
    limit = min(model.max_audio_files, MAX_AUDIO_FILES)
    if given and limit == 0:
        message = f"{model.name} takes no audio"
        draft.findings.error(Code.AUDIO_UNSUPPORTED, given[0].whole, message, given[0].field)
    elif len(given) > limit:
        message = f"{model.name} takes at most {_count(limit, 'audio file')}; {len(given)} are given"
        excess = given[limit]
        draft.findings.error(Code.TOO_MANY_AUDIO_FILES, excess.whole, message, excess.field)


def check_required_image(draft: Draft, model: VideoModel) -> None:
    """Some models only animate an image."""
    images = draft.inputs.of("first_frame", "mid_frame", "last_frame", "reference")
    if model.requires_image and not images:
        message = f"{model.name} needs an image, such as `video_image_data.first_frame_image_url`"
        draft.findings.error(Code.IMAGE_INPUT_REQUIRED, draft.node, message, "video_image_data")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _check_frame(draft: Draft, offered: bool, given: list[MediaInput], code: Code, name: str) -> None:
    if given and not offered:
        message = f"{draft.model.name} takes no {name} frame"
        draft.findings.error(code, given[0].node, message, given[0].path)
    if len(given) > 1:
        message = f"the {name} frame is given {len(given)} times; the provider will use one of them"
        draft.findings.warn(Code.INVALID_VALUE, given[1].node, message, given[1].path)
