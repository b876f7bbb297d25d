"""One job of a manifest: checked, priced and turned into the item that is sent."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from orchestrator.base.diagnostics import Diagnostic
from orchestrator.catalog.models import AnyModel, Catalog, ImageModel, TextModel, VideoModel
from orchestrator.manifest import values
from orchestrator.manifest.findings import Findings
from orchestrator.manifest.job_keys import ManifestJob
from orchestrator.manifest.nodes import Entry, Scalar, plain
from orchestrator.manifest.repeat import Job
from orchestrator.planner.draft import Draft
from orchestrator.planner.fields import COMMON, FIELDS, JobType
from orchestrator.planner.fingerprint import fingerprint
from orchestrator.planner.identity import identify
from orchestrator.planner.inputs import Inputs, read_inputs
from orchestrator.planner.media import MediaReader
from orchestrator.planner.pricing import price
from orchestrator.planner.references import Reference
from orchestrator.planner.result import PlannedJob
from orchestrator.planner.rules_custom import check_custom_rules
from orchestrator.planner.rules_fields import check_extra, check_names, check_required, check_texts, warn_template
from orchestrator.planner.rules_image import check_input_images
from orchestrator.planner.rules_model import check_aspect_ratio, check_duration, check_output_format, check_switches
from orchestrator.planner.rules_text import check_text_fields, check_text_model, warn_of_reserve
from orchestrator.planner.rules_video import check_audio, check_frames, check_references, check_required_image
from orchestrator.planner.text_pricing import text_reserve
from orchestrator.planner.typed import with_types


class CheckedJob(NamedTuple):
    """A job after its own checks; `planned` is None where they found an error. `findings` are its own alone."""

    job: Job
    type: JobType | None
    findings: Findings
    references: Sequence[Reference] = ()
    planned: PlannedJob | None = None

    @property
    def errors(self) -> tuple[Diagnostic, ...]:
        """All that is wrong with it, also what reading its row has found."""
        return (*self.job.faults, *self.findings.errors)


def check_job(
    job: ManifestJob, defaults: dict[str, Entry], catalog: Catalog, reader: MediaReader, file: str
) -> CheckedJob:
    """All rules about a job alone. What it needs of others is left to `check_chains`."""
    own = Findings(file, job.id, origin=job.origin)
    if job.is_broken:
        return CheckedJob(job, None, own)
    defaults = defaults | job.defaults
    fields = defaults | job.fields
    identity = identify(fields.get("type"), fields.get("model"), catalog, own)
    fields = with_types(_applicable(defaults, identity.type) | job.fields, None if job.of_row is None else job.filled)
    _check_fields(job, fields, identity.type, own)
    inputs = read_inputs(fields, identity.type, reader, own)
    if identity.model is None:
        return CheckedJob(job, identity.type, own, inputs.references)
    item = _item(identity.model.type, fields, job.extra, inputs)
    estimate = _priced(job, fields, identity.model, item, inputs, own)
    is_sound = not (own.errors or job.faults)
    planned = _planned(job, job.id, identity.model, item, inputs, estimate) if job.id is not None and is_sound else None
    return CheckedJob(job, identity.type, own, inputs.references, planned)


def _priced(
    job: ManifestJob,
    fields: dict[str, Entry],
    model: AnyModel,
    item: dict[str, Any],
    inputs: Inputs,
    findings: Findings,
) -> Decimal:
    """What the job costs, once its model has judged it."""
    if isinstance(model, TextModel):
        check_text_model(fields, model, inputs, findings)
        reserve = text_reserve(model, item)
        warn_of_reserve(job.node, fields, model, reserve, findings)
        return reserve.credits
    draft = Draft(job.node, fields, model, inputs, findings)
    _check_model_rules(draft)
    return price(draft)


def _planned(
    job: ManifestJob, job_id: str, model: AnyModel, item: dict[str, Any], inputs: Inputs, estimate: Decimal
) -> PlannedJob:
    needs = tuple(dict.fromkeys(reference.job for reference in inputs.references))
    return PlannedJob(
        ordinal=job.ordinal,
        id=job_id,
        type=model.type,
        model=model.name,
        item=item,
        labels=job.labels,
        estimate=estimate,
        fingerprint=None if needs else fingerprint(type=model.type, model=model.name, item=item, take=job.take),
        needs=needs,
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
    check_texts(job.fields.values(), findings, has_text=not job.is_template)
    check_extra(job.extra, job_type, findings, has_text=not job.is_template)
    if job_type == "text":
        check_text_fields(job.node, fields, findings)
    if "prompt" in fields:
        values.text(fields["prompt"].value, "prompt", findings)
    id_node = job.node.entries["id"].value if job.id else None
    if isinstance(id_node, Scalar) and not job.is_template:
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
