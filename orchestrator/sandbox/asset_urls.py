"""Signed, expiring URLs of assets, on an origin of their own.

A path is `/<rendition>/<job_id>.<ext>`; the query carries the expiry and a signature, as a CDN's does.
"""

import hashlib
import hmac
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlencode

from orchestrator.sandbox.records import Job

Rendition = Literal["original", "second", "preview", "thumbnail", "silent", "final-frame"]
RENDITIONS: tuple[Rendition, ...] = ("original", "second", "preview", "thumbnail", "silent", "final-frame")
TWO_MARKER = "[sandbox:two]"
"""In a prompt: the job has a `second` original."""

_EXTENSIONS = {"png": "png", "jpeg": "jpg", "webp": "webp", "mp4": "mp4"}


@dataclass(frozen=True, slots=True)
class AssetUrls:
    """Makes and checks asset URLs below `origin`."""

    origin: str
    key: str

    def url(self, job: Job, rendition: Rendition) -> str:
        """The URL of one rendition of a completed job, good until the job's `expires_at`."""
        path = f"/{rendition}/{job.job_id}.{_EXTENSIONS[rendition_format(job, rendition)]}"
        expires = str(int(job.expires_at))
        query = urlencode({"Expires": expires, "Signature": self._signature(path, expires)})
        return f"{self.origin}{path}?{query}"

    def is_signed(self, path: str, expires: str, signature: str) -> bool:
        """Whether a URL's query belongs to its path."""
        return hmac.compare_digest(self._signature(path, expires).encode(), signature.encode())

    def _signature(self, path: str, expires: str) -> str:
        return hmac.new(self.key.encode(), f"{path}?{expires}".encode(), hashlib.sha256).hexdigest()


def rendition_format(job: Job, rendition: Rendition) -> str:
    """png, jpeg, webp or mp4: originals and previews as ordered, stills of them as JPEG."""
    if job.output is None:
        raise ValueError("only a completed job has renditions")
    if rendition in ("original", "second", "preview"):
        return job.output.format
    return "mp4" if rendition == "silent" else "jpeg"
