"""The JSON bodies of the generation endpoint, shaped as the guide's "Image / Video Response Format"."""

import hashlib
from datetime import UTC, datetime
from decimal import Decimal

from orchestrator.base.money import ZERO, canonical
from orchestrator.catalog.models import Catalog
from orchestrator.sandbox.asset_urls import TWO_MARKER, AssetUrls
from orchestrator.sandbox.flow import TERMINAL, job_status, request_status, updated_at
from orchestrator.sandbox.listing import model_key
from orchestrator.sandbox.records import Job, RequestAccepted

_MIME_TYPES = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp", "mp4": "video/mp4"}
_CREATORS_WITHOUT_FINAL_FRAME = frozenset({"Google", "Hailuo AI"})


def rfc3339(at: float) -> str:
    """An instant in the guide's spelling: whole seconds, +00:00."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


def mime_type(media_format: str) -> str:
    return _MIME_TYPES[media_format]


class Answers:
    """Writes answers; `urls` makes the asset links and the catalogue tells whose models tag their results."""

    def __init__(self, catalog: Catalog, urls: AssetUrls) -> None:
        self._catalog = catalog
        self._urls = urls

    def request(self, request: RequestAccepted, now: float) -> dict[str, object]:
        """The body for a submission and for a poll."""
        status = request_status(request, now)
        terminal = status in TERMINAL
        metadata = {"credits_spent": _spent(request.jobs, now)} if terminal else {}
        return {
            "request_id": request.request_id,
            "status": status,
            "created_at": rfc3339(request.at),
            "updated_at": rfc3339(updated_at(request, now)),
            "requests": [job.item for job in request.jobs],
            "responses": [self._response(job, now) for job in request.jobs],
            "poll_after_seconds": None if terminal else request.poll_after_seconds,
            "metadata": metadata,
        }

    def _response(self, job: Job, now: float) -> dict[str, object]:
        status = job_status(job, now)
        done = status in TERMINAL
        answer: dict[str, object] = {
            "job_id": job.job_id,
            "type": job.type,
            "status": status,
            "output_assets": self._assets(job) if status == "completed" else [],
            "started_at": rfc3339(job.started_at) if status not in ("queued", "rejected") else None,
            "completed_at": rfc3339(job.finished_at) if done else None,
            "metadata": {"model": model_key(job.model)},
        }
        if done:
            answer["metadata"] = {"model": model_key(job.model), "credits_spent": _spent((job,), now)}
        if done and job.error is not None:
            answer["error"] = job.error.model_dump()
        return answer

    def _assets(self, job: Job) -> list[dict[str, object]]:
        first = self._asset(job)
        if TWO_MARKER not in job.prompt:
            return [first]
        url = self._urls.url(job, "second")
        renditions = {name: "" for name in first if name.endswith("_url")}
        return [first, first | renditions | {"url": url, "original_data_url": url}]

    def _asset(self, job: Job) -> dict[str, object]:
        output = job.output
        assert output is not None, "a completed job has an output"
        asset: dict[str, object] = {
            "kind": job.type,
            "mime_type": mime_type(output.format),
            "url": self._urls.url(job, "preview"),
            "original_data_url": self._urls.url(job, "original"),
            "thumbnail_image_url": self._urls.url(job, "thumbnail"),
            "width": output.width,
            "height": output.height,
            "metadata": {"tags": _tags(job.prompt)} if self._creator(job) == "imgnAI" else {},
            "expires_at": rfc3339(job.expires_at),
        }
        if job.type == "video":
            final = self._creator(job) not in _CREATORS_WITHOUT_FINAL_FRAME
            asset["duration_seconds"] = output.duration_seconds
            asset["thumbnail_silent_video_mp4_url"] = self._urls.url(job, "silent")
            asset["final_frame_image_url"] = self._urls.url(job, "final-frame") if final else ""
        return asset

    def _creator(self, job: Job) -> str | None:
        model = self._catalog.get(job.model)
        return None if model is None else model.creator


def _spent(jobs: tuple[Job, ...], now: float) -> str:
    """What was charged for good; failed items are refunded and rejected ones were never charged."""
    return canonical(sum((job.credits for job in jobs if job_status(job, now) == "completed"), Decimal(ZERO)))


def _tags(prompt: str) -> list[dict[str, object]]:
    """CLIP-like tags: words of the prompt, each with a confidence."""
    words = dict.fromkeys(word.lower() for word in prompt.split() if word.isalpha() and len(word) > 3)
    return [
        {"tag": word, "confidence": round(0.5 + hashlib.sha256(word.encode()).digest()[0] / 512, 2)}
        for word in ["sandbox", *words][:5]
    ]
