"""Venice-style image and video request bodies as jobs (guide, "Retargeting Venice-Style x402 Scripts to imgnAI").

The guide asks for model ids and bodies to be reshaped. What is not plainly the same thing is left for a person: it is
noted, and `plan` says the rest.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.catalog.models import Catalog
from orchestrator.planner.fields import JobType

_MODES = re.compile(r"-(?:preview|text-to-image|text-to-video|image-to-video|reference-to-video)(?=-|$)")
_SIZE = re.compile(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})")
_SECONDS = re.compile(r"([0-9]{1,4})s?")
_OF_VIDEOS = ("duration", "end_image_url", "audio_url", "video_url", "reference_image_urls", "reference_audio_urls")
_NOT_PICTURES = {
    "messages": "a chat completion",
    "input": "no image or video (embeddings and speech have no counterpart)",
}
_SAME: dict[JobType, dict[str, str]] = {
    "image": {
        "aspect_ratio": "aspect_ratio",
        "format": "output_format",
        "output_format": "output_format",
        "image": "image_url",
        "image_url": "image_url",
        "images": "image_urls",
    },
    "video": {"aspect_ratio": "aspect_ratio"},
}
_MEDIA_OF_VIDEOS = {
    "image_url": "first_frame_image_url",
    "end_image_url": "last_frame_image_url",
    "reference_image_urls": "reference_image_urls",
    "reference_audio_urls": "audio_input_urls",
}
_REASONS = {
    "duration": "give whole seconds as `duration_seconds`",
    "negative_prompt": "say in the prompt what is not wanted",
    "seed": "the API has no seed; `takes` makes several results to choose from",
    "resolution": "it is part of the model's name, where it can be chosen",
    "audio": "it depends on the model whether a video has sound",
}


@dataclass(frozen=True, slots=True)
class Note:
    """What a person has to look at: a field that has no counterpart, or one that was read as something else."""

    field: str
    message: str


@dataclass(frozen=True, slots=True)
class Conversion:
    """A job's keys beside its `id`; None for a body that asks for no image or video."""

    job: dict[str, Any] | None
    notes: tuple[Note, ...]


@dataclass(slots=True)
class _Draft:
    body: Mapping[str, Any]
    job: dict[str, Any]
    notes: list[Note] = field(default_factory=list)
    used: set[str] = field(default_factory=set)

    def take(self, name: str) -> Any:
        """A value that is dealt with."""
        self.used.add(name)
        return self.body.get(name)

    def note(self, name: str, message: str) -> None:
        self.notes.append(Note(name, message))


def convert(body: Mapping[str, Any], catalog: Catalog) -> Conversion:
    """One request body as a job."""
    given = {name: value for name, value in body.items() if value is not None}
    for name, what in _NOT_PICTURES.items():
        if name in given:
            return Conversion(None, (Note(name, f"this is {what}; it is left out"),))
    model = _model(given.get("model"), catalog)
    job_type = _type(given, catalog, model)
    draft = _Draft(given, {"type": job_type})
    _put_model(draft, model)
    for name, target in {"prompt": "prompt", **_SAME[job_type]}.items():
        if name in given:
            draft.job[target] = draft.take(name)
    if job_type == "video":
        _put_video(draft)
    else:
        _put_size(draft)
        _put_number(draft)
    draft.notes += _without_counterpart(draft)
    return Conversion(draft.job, tuple(draft.notes))


def _model(written: Any, catalog: Catalog) -> str | None:
    """The catalogue's model of the same name, spelled its way and without what it is to be used for."""
    if not isinstance(written, str):
        return None
    spelled = re.sub(r"[ ._]", "-", written.strip().lower())
    return next((name for name in (written, spelled, _MODES.sub("", spelled)) if catalog.get(name)), None)


def _type(body: Mapping[str, Any], catalog: Catalog, model: str | None) -> JobType:
    found = catalog.get(model) if model else None
    if found is not None and found.type != "text":
        return found.type
    return "video" if any(name in body for name in _OF_VIDEOS) else "image"


def _put_model(draft: _Draft, model: str | None) -> None:
    written = draft.take("model")
    draft.job["model"] = model or written or ""
    if model is None:
        draft.note("model", f"there is no model `{written or ''}`; choose one of `orchestrator models`")
    elif model != written:
        draft.note("model", f"`{written}` was taken for `{model}`")


def _put_video(draft: _Draft) -> None:
    duration = _SECONDS.fullmatch(str(draft.body.get("duration", "")))
    if duration:
        draft.take("duration")
        draft.job["duration_seconds"] = int(duration[1])
    media = {target: draft.take(name) for name, target in _MEDIA_OF_VIDEOS.items() if name in draft.body}
    if "audio_url" in draft.body and "audio_input_urls" not in media:
        media["audio_input_urls"] = [draft.take("audio_url")]
    if media:
        draft.job["video_image_data"] = media


def _put_size(draft: _Draft) -> None:
    """A size in pixels gives the aspect ratio; the API has no sizes."""
    size = _SIZE.fullmatch(f"{draft.body.get('width', '')}x{draft.body.get('height', '')}")
    size = size or _SIZE.fullmatch(str(draft.body.get("size", "")))
    if "aspect_ratio" in draft.job:
        return
    if size is None:
        draft.job["aspect_ratio"] = "1:1"
        draft.note("aspect_ratio", "none was given; it is 1:1")
        return
    width, height = int(size[1]), int(size[2])
    divisor = math.gcd(width, height)
    draft.job["aspect_ratio"] = f"{width // divisor}:{height // divisor}"
    draft.used |= {"width", "height", "size"}
    draft.note("aspect_ratio", f"{width}x{height} pixels became {draft.job['aspect_ratio']}; the model sets the size")


def _put_number(draft: _Draft) -> None:
    for name in ("variants", "n"):
        number = draft.body.get(name)
        if isinstance(number, int) and not isinstance(number, bool) and number > 0:
            draft.take(name)
            if number > 1:
                draft.job["takes"] = number


def _without_counterpart(draft: _Draft) -> Iterator[Note]:
    for name in draft.body:
        if name not in draft.used:
            reason = _REASONS.get(name)
            yield Note(name, "has no counterpart" + (f": {reason}" if reason else ""))
