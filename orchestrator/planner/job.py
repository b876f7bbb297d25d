"""One job of a manifest: checked, priced and turned into the item that is sent."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from orchestrator.catalog.models import Catalog, ImageModel, VideoModel
from orchestrator.manifest import values
from orchestrator.manifest.findings import Findings
from orchestrator.manifest.job_keys import ManifestJob
from orchestrator.manifest.nodes import Entry, Scalar, plain
from orchestrator.planner.chains import Link
from orchestrator.planner.draft import Draft
from orchestrator.planner.fields import COMMON, FIELDS, JobType
from orchestrator.planner.identity import identify
from orchestrator.planner.inputs import Inputs, read_inputs
from orchestrator.planner.media import MediaReader
from orchestrator.planner.pricing import price
from orchestrator.planner.result import PlannedJob
from orchestrator.planner.rules_custom import check_custom_rules
from orchestrator.planner.rules_fields import check_extra, check_names, check_required, check_texts, warn_template
from orchestrator.planner.rules_image import check_input_images
from orchestrator.planner.rules_model import check_aspect_ratio, check_duration, check_output_format, check_switches
from orchestrator.planner.rules_video import check_audio, check_frames, check_references, check_required_image


@dataclass(frozen=True, slots=True)
class CheckedJob:
    """A job after its own checks: None for `planned` where they found a fault; `link` is None where it has no id."""

    planned: PlannedJob | None
    link: Link | None


def check_job(
    job: ManifestJob,
    defaults: dict[str, Entry],
    catalog: Catalog,
    reader: MediaReader,
    findings: Findings,
) -> CheckedJob:
    """All rules about a job alone; its faults go to `findings`. What it needs of others is left to `check_chains`."""
    own = findings.for_job(job.id, job.origin)
    if job.is_broken:
        return CheckedJob(None, None if job.id is None else Link(job.id, None, [], own))
    defaults = defaults | job.defaults
    errors_before = len(own.errors)
    fields = defaults | job.fields
    identity = identify(fields.get("type"), fields.get("model"), catalog, own)
    fields = _applicable(defaults, identity.type) | job.fields
    _check_fields(job, fields, identity.type, own)
    inputs = read_inputs(fields, identity.type, reader, own)
    link = Link(job.id, identity.type, inputs.references, own) if job.id is not None else None
    if identity.model is None:
        return CheckedJob(None, link)
    draft = Draft(job.node, fields, identity.model, inputs, own)
    _check_model_rules(draft)
    estimate = price(draft)
    if len(own.errors) > errors_before or job.id is None:
        return CheckedJob(None, link)
    return CheckedJob(_planned(job, job.id, draft, estimate), link)


def _planned(job: ManifestJob, job_id: str, draft: Draft, estimate: Decimal) -> PlannedJob:
    return PlannedJob(
        ordinal=job.ordinal,
        id=job_id,
        type=draft.model.type,
        model=draft.model.name,
        item=_item(draft.model.type, draft.fields, job.extra, draft.inputs),
        labels=job.labels,
        estimate=estimate,
        needs=tuple(dict.fromkeys(reference.job for reference in draft.inputs.references)),
        has_gate=job.has_gate,
        row=job.row.columns if job.row else None,
        take=job.take,
        row_place=job.row.place if job.row else None,
    )


def _applicable(defaults: dict[str, Entry], job_type: JobType | None) -> dict[str, Entry]:
    """A default applies to the jobs whose type knows the field."""
    known = FIELDS[job_type] if job_type else COMMON
    return {name: entry for name, entry in defaults.items() if name in known}


def _check_fields(job: ManifestJob, fields: dict[str, Entry], job_type: JobType | None, findings: Findings) -> None:
    check_names(job.fields, job_type, findings)
    check_required(job.node, fields, job_type, findings)
    check_texts(job.fields.values(), findings)
    check_extra(job.extra, findings)
    if "prompt" in fields:
        values.text(fields["prompt"].value, "prompt", findings)
    id_node = job.node.entries["id"].value if job.id else None
    if isinstance(id_node, Scalar):
        warn_template(id_node, "id", findings)


def _check_model_rules(draft: Draft) -> None:
    check_aspect_ratio(draft)
    if isinstance(draft.model, ImageModel):
        check_output_format(draft, draft.model)
        check_switches(draft, draft.model)
        check_input_images(draft, draft.model)
    else:
        _check_video_rules(draft, draft.model)


def _check_video_rules(draft: Draft, model: VideoModel) -> None:
    check_duration(draft, model)
    check_frames(draft, model)
    check_references(draft, model)
    check_audio(draft, model)
    check_required_image(draft, model)
    check_custom_rules(draft, model)


def _item(job_type: JobType, fields: dict[str, Entry], extra: dict[str, Entry], inputs: Inputs) -> dict[str, Any]:
    """The request item, in the user's own field names; `type` is added where the model told it."""
    replacements = inputs.replacements()
    given = {name: plain(entry.value, replacements) for name, entry in (fields | extra).items()}
    return {"type": job_type, **given}
