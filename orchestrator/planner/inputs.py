"""The media of one job, by the slot they fill, whatever field or alias they came in by."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from orchestrator.base.diagnostics import Code
from orchestrator.manifest.findings import Findings
from orchestrator.manifest.nodes import Entry, Mapping, Node, Scalar, Sequence, fault_of
from orchestrator.manifest.repeat import Job, Repeat
from orchestrator.manifest.suggest import did_you_mean
from orchestrator.manifest.values import describe, shorten
from orchestrator.planner.fields import (
    ASSET_FIELDS,
    ASSET_SLOTS,
    FRAMES,
    IMAGE_LISTS,
    MEDIA_FIELDS,
    SINGLE_IMAGES,
    VIDEO_IMAGE_DATA,
    JobType,
)
from orchestrator.planner.media import MediaFault, MediaKind, MediaReader, Medium
from orchestrator.planner.messages import picture_entries
from orchestrator.planner.references import Reference, is_reference, read_reference

_PICTURES = VIDEO_IMAGE_DATA - {"audio_input_urls"}
Slot = Literal["image", "first_frame", "mid_frame", "last_frame", "reference", "audio"]


@dataclass(frozen=True, slots=True)
class MediaInput:
    """One medium given: its value, and the field (`whole`) that it is part of, for rules about counts."""

    node: Node
    path: str
    whole: Node
    field: str


@dataclass(slots=True)
class Inputs:
    """All media of a job. A value that cannot be used still counts, so that one fault does not cause another."""

    slots: dict[Slot, list[MediaInput]] = field(default_factory=dict)
    media: dict[int, Medium] = field(default_factory=dict)
    references: list[Reference] = field(default_factory=list)

    def of(self, *slots: Slot) -> list[MediaInput]:
        """What was given for any of these slots."""
        return [given for slot in slots for given in self.slots.get(slot, ())]

    def replacements(self) -> dict[int, Any]:
        """What the item holds in place of each media node, by the node's `id()`."""
        return {node_id: medium.value for node_id, medium in self.media.items()}


def read_inputs(fields: dict[str, Entry], job_type: JobType | None, reader: MediaReader, findings: Findings) -> Inputs:
    """Collects and judges the media fields. An unknown type still has its media values judged."""
    inputs = Inputs()
    for slot, given in _given(fields, job_type, findings):
        inputs.slots.setdefault(slot, []).append(given)
        kind: MediaKind = "audio" if slot == "audio" else "image"
        if is_reference(given.node):
            reference = read_reference(given.node, given.path, kind, findings)
            if reference is not None:
                inputs.references.append(reference)
                inputs.media[id(given.node)] = Medium(reference.value)
        elif (medium := _medium(given, kind, reader, findings)) is not None:
            inputs.media[id(given.node)] = medium
    return inputs


def pictures(jobs: Iterable[Job]) -> Iterator[tuple[str, str | None]]:
    """All pictures in the jobs' fields, or those of their own, for `MediaReader.read_ahead`."""
    for job in jobs:
        if isinstance(job, Repeat):
            for node in job.pictures.values():
                yield from _pictures(node)
            continue
        for name in MEDIA_FIELDS & job.fields.keys():
            yield from _pictures(job.fields[name].value)
        if "messages" in job.fields:
            for _, entry in picture_entries(job.fields["messages"].value):
                yield from _pictures(entry.value)


def _pictures(node: Node) -> Iterator[tuple[str, str | None]]:
    if isinstance(node, Sequence):
        for item in node.items:
            yield from _pictures(item)
    elif isinstance(node, Mapping):
        for name, entry in node.entries.items():
            if name in _PICTURES:
                yield from _pictures(entry.value)
    elif isinstance(node.value, str):
        yield node.value, node.within


def _given(fields: dict[str, Entry], job_type: JobType | None, findings: Findings) -> Iterator[tuple[Slot, MediaInput]]:
    if job_type in ("text", None) and "messages" in fields:
        for path, entry in picture_entries(fields["messages"].value):
            yield "image", _one(entry, path)
    if job_type == "text":
        return
    single: Slot = "first_frame" if job_type == "video" else "image"
    if job_type != "image":
        yield from _video_image_data(fields.get("video_image_data"), findings)
        yield from _listed(fields, "reference_image_urls", "reference", findings)
        yield from _reference_assets(fields.get("reference_assets"), findings)
    for name in SINGLE_IMAGES:
        if name in fields:
            yield single, _one(fields[name], name)
    if job_type != "video":
        for name in IMAGE_LISTS:
            yield from _listed(fields, name, "image", findings)


def _video_image_data(entry: Entry | None, findings: Findings) -> Iterator[tuple[Slot, MediaInput]]:
    if entry is None:
        return
    if not isinstance(entry.value, Mapping):
        message = f"`video_image_data` must be a mapping, it is {describe(entry.value)}"
        findings.error(Code.INVALID_VALUE, entry.value, message, "video_image_data")
        return
    within = entry.value.entries
    for name, frame in within.items():
        path = f"video_image_data.{name}"
        if name not in VIDEO_IMAGE_DATA:
            message = f"`video_image_data` has no field `{shorten(name)}`{did_you_mean(name, VIDEO_IMAGE_DATA)}"
            findings.error(Code.UNKNOWN_FIELD, frame.key, message, path)
        elif name in FRAMES:
            yield FRAMES[name], _one(frame, path)
    yield from _listed(within, "reference_image_urls", "reference", findings, "video_image_data.")
    yield from _listed(within, "audio_input_urls", "audio", findings, "video_image_data.")


def _listed(
    fields: dict[str, Entry], name: str, slot: Slot, findings: Findings, prefix: str = ""
) -> Iterator[tuple[Slot, MediaInput]]:
    entry = fields.get(name)
    if entry is None:
        return
    path = prefix + name
    if not isinstance(entry.value, Sequence):
        _report_not_a_list(entry.value, path, findings)
        return
    for index, node in enumerate(entry.value.items):
        yield slot, MediaInput(node, f"{path}[{index}]", entry.value, path)


def _reference_assets(entry: Entry | None, findings: Findings) -> Iterator[tuple[Slot, MediaInput]]:
    if entry is None:
        return
    if not isinstance(entry.value, Sequence):
        _report_not_a_list(entry.value, "reference_assets", findings)
        return
    for index, node in enumerate(entry.value.items):
        path = f"reference_assets[{index}]"
        if not isinstance(node, Mapping):
            message = f"a reference asset is a mapping with `kind` and `url`, it is {describe(node)}"
            findings.error(Code.INVALID_VALUE, node, message, path)
            continue
        slot = _asset_slot(node, path, findings)
        source = _asset_source(node, path, findings)
        if slot and source:
            yield (
                slot,
                MediaInput(source.value, f"{path}.{source.key.value}", entry.value, "reference_assets"),
            )


def _asset_slot(asset: Mapping, path: str, findings: Findings) -> Slot | None:
    entry = asset.entries.get("kind")
    if entry is None:
        findings.error(Code.MISSING_FIELD, asset, "a reference asset needs a `kind`", f"{path}.kind")
        return None
    kind = entry.value.value if isinstance(entry.value, Scalar) else None
    if isinstance(kind, str) and kind in ASSET_SLOTS:
        return ASSET_SLOTS[kind]
    hint = did_you_mean(kind, ASSET_SLOTS) if isinstance(kind, str) else ""
    message = f"`kind` must be one of {', '.join(ASSET_SLOTS)}, it is {describe(entry.value)}{hint}"
    findings.error(Code.INVALID_VALUE, entry.value, message, f"{path}.kind")
    return None


def _asset_source(asset: Mapping, path: str, findings: Findings) -> Entry | None:
    for name, entry in asset.entries.items():
        if name not in ASSET_FIELDS:
            message = f"a reference asset has no field `{shorten(name)}`{did_you_mean(name, ASSET_FIELDS)}"
            findings.error(Code.UNKNOWN_FIELD, entry.key, message, f"{path}.{name}")
    given = [asset.entries[name] for name in ("url", "base64_data") if name in asset.entries]
    if not given:
        message = "a reference asset needs a `url` or `base64_data`"
        findings.error(Code.MISSING_FIELD, asset, message, f"{path}.url")
        return None
    if len(given) == 2:
        message = "a reference asset takes either `url` or `base64_data`"
        findings.error(Code.INVALID_VALUE, given[1].value, message, f"{path}.base64_data")
    return given[0]


def _one(entry: Entry, path: str) -> MediaInput:
    return MediaInput(entry.value, path, entry.value, path)


def _report_not_a_list(node: Node, path: str, findings: Findings) -> None:
    hint = "; put `from` into a list: [{from: ...}]" if is_reference(node) else ""
    message = f"`{path}` must be a list, it is {describe(node)}{hint}"
    findings.error(Code.INVALID_VALUE, node, message, path)


def _medium(given: MediaInput, kind: MediaKind, reader: MediaReader, findings: Findings) -> Medium | None:
    node = given.node
    if not isinstance(node, Scalar) or not isinstance(node.value, str):
        message = f"`{given.path}` must be text or {{from: job}}, it is {describe(node)}"
        findings.error(Code.INVALID_VALUE, node, message, given.path)
        return None
    if fault_of(node.value):
        return None  # reported with the job's other texts
    try:
        return reader.read(node.value, kind, node.within)
    except MediaFault as fault:
        findings.error(fault.code, node, fault.message, given.path)
        return None
