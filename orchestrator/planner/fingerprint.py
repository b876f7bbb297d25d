"""A job's fingerprint: a hash of everything that determines its result, and of nothing else (docs/manifest.md).

The form is fixed for good: a silent change of it would have every collection bought again. A new form is a new
`fp2:`, beside this one.
"""

import hashlib
import json
import re
from base64 import b64decode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import count
from json.encoder import encode_basestring_ascii as _quoted
from typing import Any
from uuid import uuid4

from orchestrator.base.money import ZERO
from orchestrator.planner.chains import Chains
from orchestrator.planner.fields import (
    ASSET_SLOTS,
    FAST,
    FIELDS,
    FRAMES,
    IMAGE_LISTS,
    PROMPT_ASSIST,
    SINGLE_IMAGES,
    UHD,
    fields_beside_extra,
)
from orchestrator.planner.messages import with_pictures
from orchestrator.planner.result import PlannedJob

_PREFIX = "fp1:"
_HTTPS = "https://"
_JSON = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
_PLAIN = ("prompt", "aspect_ratio", "duration_seconds", "output_format")
_FIRST_FRAME = "video_image_data.first_frame_image_url"
_REFERENCES = "video_image_data.reference_image_urls"
_AUDIO = "video_image_data.audio_input_urls"
_SHAPING = ("image_urls", _FIRST_FRAME, _REFERENCES)
"""What `aspect_ratio: auto` looks at; without any of it, it is 1:1 (guide, "Image Generation Basics")."""
_OF_TEXTS = sorted(FIELDS["text"] - {"type", "model", "prompt", "messages", "stream", "stream_options"})


def fingerprint(
    *,
    type: str,  # noqa: A002 - the job's
    model: str,
    item: Mapping[str, Any],
    take: int | None = None,
    needed: Mapping[str, str] | None = None,
) -> str:
    """`fp1:` and the hash of the canonical item; `needed` has the fingerprints of the jobs it is made from."""
    canonical = canonical_item(type=type, model=model, item=item, take=take, needed=needed or {})
    return _PREFIX + hashlib.sha256(_JSON.encode(canonical).encode("ascii")).hexdigest()


class SeriesFingerprints:
    """The fingerprints of images or videos whose items differ in nothing but the prompt and which pictures are in the
    fields `pictures`; each has as many of them.
    """

    def __init__(
        self,
        *,
        type: str,  # noqa: A002 - the jobs'
        model: str,
        item: Mapping[str, Any],
        pictures: Iterable[str],
    ) -> None:
        self._whole = partial(fingerprint, type=type, model=model)
        self._pictures = tuple(pictures)
        mark = f"{_HTTPS}{uuid4().hex}/"
        numbers = map(str, count())
        marked: dict[str, str | list[str]] = {"prompt": mark + next(numbers)}
        for name in self._pictures:
            value = item[name]
            marked[name] = [mark + next(numbers) for _ in value] if isinstance(value, list) else mark + next(numbers)
        like = {name: marked.get(name, value) for name, value in item.items()}
        canonical = _JSON.encode(canonical_item(type=type, model=model, item=like))
        parts: list[str] = re.split(f'"{mark}([0-9]+)"', canonical)
        self._canonical = "%s".join(part.replace("%", "%%") for part in parts[::2])
        self._own = list(map(int, parts[1::2]))

    def of(self, item: Mapping[str, Any]) -> str:
        """As `fingerprint` of the item."""
        texts: list[Any] = [item.get("prompt")]
        for name in self._pictures:
            value = item[name]
            texts += value if isinstance(value, list) else [value]
        if not all(map(_is_url, texts[1:])):
            return self._whole(item=item)
        canonical = self._canonical % tuple([_quoted(texts[number]) for number in self._own])
        return _PREFIX + hashlib.sha256(canonical.encode("ascii")).hexdigest()


def with_fingerprints(jobs: Sequence[PlannedJob], chains: Chains) -> tuple[PlannedJob, ...]:
    """The jobs that no fault of a chain stands against, those that need others with fingerprints, too.

    A job that needs one that is not among them has none, and costs nothing: it will never be sent.
    """
    if not chains.order and not chains.broken:
        return tuple(jobs)
    known = {job.id: job.fingerprint for job in jobs if job.fingerprint is not None}
    made = {job.id: job for job in jobs if job.needs}
    for job in (made[job_id] for job_id in chains.order if job_id in made):
        if all(need in known for need in job.needs):
            known[job.id] = fingerprint(type=job.type, model=job.model, item=job.item, take=job.take, needed=known)
            made[job.id] = job._replace(fingerprint=known[job.id])
        else:
            made[job.id] = job._replace(estimate=ZERO)
    return tuple(made.get(job.id, job) for job in jobs if job.id not in chains.broken)


def canonical_item(
    *,
    type: str,  # noqa: A002 - the job's
    model: str,
    item: Mapping[str, Any],
    take: int | None = None,
    needed: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """An item with its aliases folded, by the guide's preferred names of the fields; what says nothing is left out.

    `model` is the public name. Without `needed` all results of other jobs are alike, whichever job they are of.
    """
    documented = fields_beside_extra(type)
    extra = {f"extra.{name}": _exact(value) for name, value in item.items() if name not in documented}
    takes = {} if take is None else {"takes": take}
    if type == "text":
        return {"type": type, "model": model, **_question(item, needed), **extra, **takes}
    media = {name: value for name, value in _media(type, item, needed).items() if value}
    canonical = {name: item[name] for name in _PLAIN if name in item} | _switches(item) | media
    if canonical.get("aspect_ratio") == "auto" and not any(name in media for name in _SHAPING):
        canonical["aspect_ratio"] = "1:1"
    if canonical.get("output_format") == "jpg":
        canonical["output_format"] = "jpeg"
    return {"type": type, "model": model, **canonical, **extra, **takes}


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """The fields in which two canonical items differ, in the order of the new one."""
    return [name for name in {**new, **old} if old.get(name) != new.get(name)]


def _question(item: Mapping[str, Any], needed: Mapping[str, str] | None) -> dict[str, Any]:
    """What a text job asks; a `prompt` is one message of a user (guide, "Compatibility notes"), text the usual form."""
    messages = item["messages"] if "messages" in item else [{"role": "user", "content": item.get("prompt")}]
    asked = with_pictures(messages, lambda picture: _medium(picture, needed))
    settings = {name: _exact(item[name]) for name in _OF_TEXTS if name in item}
    if settings.get("response_format") == {"type": "text"}:
        del settings["response_format"]
    return {"messages": _exact(asked), **settings}


def _switches(item: Mapping[str, Any]) -> dict[str, bool]:
    """UHD goes before fast (guide, "Image attachment rules"); off is the same as not given."""
    is_on = {names[0]: any(item.get(name) is True for name in names) for names in (FAST, UHD, PROMPT_ASSIST)}
    is_on[FAST[0]] = is_on[FAST[0]] and not is_on[UHD[0]]
    return {name: True for name, on in is_on.items() if on}


def _media(job_type: str, item: Mapping[str, Any], needed: Mapping[str, str] | None) -> dict[str, list[Any]]:
    """All media by the field that is theirs, in the order in which the planner reads them."""
    slots: dict[str, list[Any]] = {}
    for name, value in _given(job_type, item):
        slots.setdefault(name, []).append(_medium(value, needed))
    return slots


def _given(job_type: str, item: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    data = item.get("video_image_data", {})
    for name in (name for name in data if name in FRAMES):
        yield f"video_image_data.{name}", data[name]
    for value in (*data.get("reference_image_urls", ()), *item.get("reference_image_urls", ())):
        yield _REFERENCES, value
    for value in data.get("audio_input_urls", ()):
        yield _AUDIO, value
    for asset in item.get("reference_assets", ()):
        slot = _AUDIO if ASSET_SLOTS[asset["kind"]] == "audio" else _REFERENCES
        yield slot, asset["url"] if "url" in asset else asset["base64_data"]
    for name in (name for name in SINGLE_IMAGES if name in item):
        yield "image_urls" if job_type == "image" else _FIRST_FRAME, item[name]
    for name in (name for name in IMAGE_LISTS if name in item):
        yield from (("image_urls", value) for value in item[name])


def _medium(value: Any, needed: Mapping[str, str] | None) -> dict[str, Any]:
    """A URL by its text, bytes by the hash of what they were before they were turned upright."""
    if isinstance(value, str):
        if _is_url(value):
            return {"url": value}
        return {"sha256": hashlib.sha256(b64decode("".join(value.rpartition(",")[2].split()))).hexdigest()}
    if needed is None and ("$from" in value or "uri" in value):
        return {"from": "another job"}
    if "$from" in value:
        return {"from": (needed or {})[value["$from"]], "use": value["use"]}
    if "turned_from" in value:
        return {"sha256": value["turned_from"], "turned": True}
    return {"sha256": value["$media"]}


def _is_url(value: Any) -> bool:
    return isinstance(value, str) and value[:8].lower() == _HTTPS


def _exact(value: Any) -> Any:
    """JSON data with one spelling of each number: 2.0 is 2, as it is for the provider, too."""
    if isinstance(value, dict):
        return {name: _exact(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [_exact(entry) for entry in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
