"""Rules about field names: known at all, known to the type, required, and the text in them."""

from collections.abc import Iterable

from orchestrator.base.diagnostics import Code
from orchestrator.manifest.findings import Findings
from orchestrator.manifest.job_keys import JOB_KEYS
from orchestrator.manifest.nodes import Entry, Mapping, Scalar, fault_of, scalars
from orchestrator.manifest.suggest import did_you_mean
from orchestrator.manifest.values import shorten
from orchestrator.planner.fields import (
    ALL_FIELDS,
    FIELDS,
    NOT_OURS_TO_SEND,
    REQUIRED,
    REQUIRED_BY_BOTH,
    VIDEO_IMAGE_DATA,
    JobType,
    fields_beside_extra,
)

_RESERVED = ("$media", "$from")
"""What stands in a stored item for a medium."""
MORE_ANSWERS = ("n", "best_of")
"""Fields of the OpenAI API that multiply what a text costs."""


def check_names(fields: dict[str, Entry], job_type: JobType | None, findings: Findings) -> None:
    """Fields that no item has, and fields of the other type; the latter only where the type is known."""
    for name, entry in fields.items():
        if name in NOT_OURS_TO_SEND:
            message = f"`{name}` cannot be sent: {NOT_OURS_TO_SEND[name]}"
            findings.error(Code.UNSUPPORTED_FIELD, entry.key, message, name)
        elif name not in ALL_FIELDS:
            message = f"a job has no field `{shorten(name)}`{_hint(name)}"
            findings.error(Code.UNKNOWN_FIELD, entry.key, message, name)
        elif job_type and name not in FIELDS[job_type]:
            message = f"`{name}` is a field of {_owner(name)} job"
            findings.error(Code.UNSUPPORTED_FIELD, entry.key, message, name)


def check_required(node: Mapping, fields: dict[str, Entry], job_type: JobType | None, findings: Findings) -> None:
    """Missing fields, reported at the job."""
    for name in _required(fields, job_type):
        if name not in fields:
            kind = f"{job_type} job" if job_type else "job"
            article = "an" if kind.startswith("i") else "a"
            findings.error(Code.MISSING_FIELD, node, f"{article} {kind} needs `{name}`", name)


def _required(fields: dict[str, Entry], job_type: JobType | None) -> tuple[str, ...]:
    if job_type is None:
        return REQUIRED["text"] if "messages" in fields else REQUIRED_BY_BOTH
    return REQUIRED[job_type]


def _owner(name: str) -> str:
    """The first type whose jobs have the field, with its article."""
    job_type = next(job_type for job_type, names in FIELDS.items() if name in names)
    return f"an {job_type}" if job_type == "image" else f"a {job_type}"


def check_texts(entries: Iterable[Entry], findings: Findings, prefix: str = "", *, has_text: bool = True) -> None:
    """Scalars that could not be stored or sent, and, where `{{ }}` is text (`has_text`), those that have it."""
    for entry in entries:
        for scalar, path in scalars(entry.value, f"{prefix}{entry.key.value}"):
            if fault := fault_of(scalar.value):
                findings.error(Code.INVALID_VALUE, scalar, f"`{path}` {fault}", path)
            if has_text:
                warn_template(scalar, path, findings)


def warn_template(scalar: Scalar, path: str, findings: Findings) -> None:
    """`{{ }}` is text here, which its writer may not have meant."""
    if isinstance(scalar.value, str) and "{{" in scalar.value and "}}" in scalar.value:
        message = f"`{{{{ }}}}` in `{path}` is sent as text"
        findings.warn(Code.TEMPLATE_ERROR, scalar, message, path)


def check_extra(extra: dict[str, Entry], job_type: JobType | None, findings: Findings, *, has_text: bool) -> None:
    """`extra` goes unchecked, but must not smuggle in what would be checked, or priced, as a field."""
    documented = fields_beside_extra(job_type)
    for name, entry in extra.items():
        path = f"extra.{name}"
        if name in documented or name in NOT_OURS_TO_SEND:
            message = f"`{name}` is a documented field and cannot go into `extra`"
            findings.error(Code.UNSUPPORTED_FIELD, entry.key, message, path)
        elif job_type == "text" and name in MORE_ANSWERS:
            message = f"`{name}` makes several answers, of which one would be kept; use `takes`"
            findings.error(Code.UNSUPPORTED_FIELD, entry.key, message, path)
        elif not has_reserved_word(entry, path, findings):
            findings.warn(Code.UNKNOWN_FIELD, entry.key, f"`{path}` is sent to the provider unchecked", path)
    check_texts(extra.values(), findings, "extra.", has_text=has_text)


def has_reserved_word(entry: Entry, path: str, findings: Findings) -> bool:
    """Whether a value says what only we may say in a stored item, which is reported."""
    word = next((scalar.value for scalar, _ in scalars(entry.value, path) if scalar.value in _RESERVED), None)
    if word is not None:
        findings.error(Code.INVALID_VALUE, entry.value, f"`{word}` is a reserved word", path)
    return word is not None


def _hint(name: str) -> str:
    if name in VIDEO_IMAGE_DATA:
        return "; it belongs into `video_image_data`"
    return did_you_mean(name, [*ALL_FIELDS, *JOB_KEYS]) or "; `extra` takes undocumented fields"
