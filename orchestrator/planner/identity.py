"""What a job is: its type and its model, from the job, the defaults and the catalogue."""

from dataclasses import dataclass

from orchestrator.base.diagnostics import Code
from orchestrator.catalog.models import AnyModel, Catalog
from orchestrator.manifest import values
from orchestrator.manifest.findings import Findings
from orchestrator.manifest.nodes import Entry, Scalar
from orchestrator.manifest.suggest import did_you_mean
from orchestrator.planner.fields import JobType

_TYPES: dict[str, JobType] = {"image": "image", "video": "video", "text": "text"}


@dataclass(frozen=True, slots=True)
class Identity:
    """`model` is None where an unknown model or a wrong type silences the model rules; `type` where it is unknown."""

    type: JobType | None
    model: AnyModel | None


def identify(type_entry: Entry | None, model_entry: Entry | None, catalog: Catalog, findings: Findings) -> Identity:
    """The job's type (given, or told by the model) and its model; reports what does not fit."""
    model = _model(model_entry, catalog, findings)
    written = type_entry.value.value if type_entry and isinstance(type_entry.value, Scalar) else None
    declared = _TYPES.get(written) if isinstance(written, str) else None
    if type_entry is not None and declared is None:
        message = f"`type` must be image, video or text, it is {values.describe(type_entry.value)}"
        findings.error(Code.INVALID_VALUE, type_entry.value, message, "type")
        return Identity(None, None)
    if model is None or model_entry is None:
        return Identity(declared, None)
    if declared and model.type != declared:
        message = f"{model.name} is {_a(model.type)} model, not {_a(declared)} model"
        findings.error(Code.WRONG_MODEL_TYPE, model_entry.value, message, "model")
        return Identity(None, None)
    return Identity(model.type, model)


def _model(entry: Entry | None, catalog: Catalog, findings: Findings) -> AnyModel | None:
    name = values.text(entry.value, "model", findings) if entry else None
    if entry is None or name is None:
        return None
    model = catalog.get(name)
    if model is None:
        known = [known.name for known in catalog.models.values()]
        spelled = name.lower().replace(" ", "-").replace(".", "-").replace("_", "-")
        message = f"there is no model `{values.shorten(name)}`{did_you_mean(spelled, known)}"
        findings.error(Code.UNKNOWN_MODEL, entry.value, message, "model")
    return model


def _a(words: str) -> str:
    return f"an {words}" if words.startswith("i") else f"a {words}"
