"""Planned jobs as a person reads them: as jobs of a manifest, and as the items that are sent, with media shortened."""

from collections.abc import Callable, Mapping
from typing import Any

from orchestrator.planner.fields import MEDIA_FIELDS, fields_beside_extra
from orchestrator.planner.messages import with_pictures
from orchestrator.planner.result import MediaBlob, PlannedJob

_LONGEST = 120
_BEGINNING = 60

Show = Callable[[dict[str, Any]], Any]
"""How a stored medium, `{"$media": ...}` or `{"$from": ...}`, is shown."""


def concrete_job(job: PlannedJob, media: Mapping[str, MediaBlob]) -> dict[str, Any]:
    """The job as a manifest would say it without templates, defaults and takes."""
    shown = _shown(job.item, lambda medium: _in_manifest(medium, media))
    documented = fields_beside_extra(job.type)
    fields = {name: value for name, value in shown.items() if name in documented}
    extra = {name: value for name, value in shown.items() if name not in documented}
    ours = {"labels": job.labels, "gate": "manual" if job.has_gate else None, "extra": extra}
    return {"id": job.id, **fields, **{name: value for name, value in ours.items() if value}}


def shortened_item(job: PlannedJob, media: Mapping[str, MediaBlob]) -> dict[str, Any]:
    """The item as it is sent, but for its media, which are cut short."""
    return _shown(job.item, lambda medium: _in_request(medium, media))


def _shown(item: Mapping[str, Any], show: Show) -> dict[str, Any]:
    shown = {name: _value(value, show) if name in MEDIA_FIELDS else value for name, value in item.items()}
    if "messages" in item and item.get("type") == "text":
        shown["messages"] = with_pictures(item["messages"], lambda picture: _value(picture, show))
    return shown


def _value(value: Any, show: Show) -> Any:
    if isinstance(value, list):
        return [_value(entry, show) for entry in value]
    if isinstance(value, str):
        is_long = len(value) > _LONGEST and value[:8].lower() != "https://"
        return f"{value[:_BEGINNING]}… ({len(value):,} characters)" if is_long else value
    if "$media" in value or "$from" in value:
        return show(value)
    return {name: _value(entry, show) for name, entry in value.items()}


def _in_manifest(medium: dict[str, Any], media: Mapping[str, MediaBlob]) -> Any:
    if "$from" in medium:
        return {"from": medium["$from"], "use": medium["use"]}
    blob = media[medium["$media"]]
    if blob.path is None:
        return _in_request(medium, media)
    return blob.uri or str(blob.path)


def _in_request(medium: dict[str, Any], media: Mapping[str, MediaBlob]) -> str:
    if "$from" in medium:
        what = "the final frame" if medium["use"] == "final_frame" else "the result"
        return f"data:…;base64,… ({what} of job {medium['$from']})"
    blob = media[medium["$media"]]
    source = f" of {blob.uri or blob.path}" if blob.path else ""
    turned = ", turned upright" if blob.turned_from else ""
    return f"{medium['prefix']}… ({blob.size_bytes:,} bytes{source}{turned})"
