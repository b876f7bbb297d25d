"""The bytes of an asset, drawn when they are asked for: nothing is stored, and the same job gives the same bytes."""

from functools import lru_cache

from orchestrator.sandbox.asset_urls import Rendition
from orchestrator.sandbox.film import film, final_frame
from orchestrator.sandbox.picture import Motif, draw, encode
from orchestrator.sandbox.records import Job, Output

_THUMBNAIL_PIXELS = 128
_SILENT_SECONDS = 2.0


def render(job: Job, rendition: Rendition) -> bytes:
    """One rendition of a completed job."""
    if job.output is None:
        raise ValueError("only a completed job can be rendered")
    if rendition == "second":
        return _render(Motif(job.prompt, job.model, job.job_id[-8:]), job.output, "original")
    return _render(Motif(job.prompt, job.model, job.job_id[:8]), job.output, rendition)


@lru_cache(maxsize=256)
def _render(motif: Motif, output: Output, rendition: Rendition) -> bytes:
    width, height = output.width, output.height
    match rendition:
        case "thumbnail":
            picture = draw(motif, width, height)
            picture.thumbnail((_THUMBNAIL_PIXELS, _THUMBNAIL_PIXELS))
            return encode(picture, "jpeg")
        case "final-frame":
            return encode(final_frame(motif, width, height), "jpeg")
        case "silent":
            return film(motif, width // 4 * 2, height // 4 * 2, _SILENT_SECONDS, sound=False)
    if output.duration_seconds is not None:
        scale = 1 if rendition == "original" else 2
        size = (_even(width // scale), _even(height // scale))
        return film(motif, *size, output.duration_seconds, sound=output.has_audio)
    picture = draw(motif, width, height)
    if rendition == "preview":
        picture.thumbnail((width // 2, height // 2))
    return encode(picture, output.format)


def _even(length: int) -> int:
    return max(2, length // 2 * 2)
