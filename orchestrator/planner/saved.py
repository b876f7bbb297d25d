"""The file of a saved plan: all that was seen, under a digest that an edit or a cut does not survive. Pure JSON."""

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from orchestrator.base.diagnostics import Code, Diagnostic
from orchestrator.base.payments import Payment
from orchestrator.catalog.models import Amount
from orchestrator.manifest.collection_keys import Reuse
from orchestrator.manifest.findings import Findings
from orchestrator.manifest.nodes import Scalar
from orchestrator.planner.result import MediaBlob, Plan, PlannedJob, RejectedJob

START = Scalar(None, 1, 1)
"""The place of every diagnostic of a saved plan: nobody wrote its lines."""
_MAX_BYTES = 1024**3
_KEY = "saved_plan"
_HEAD = re.compile(rb'(?:\xef\xbb\xbf)?\s*\{\s*"saved_plan"\s*:')
_HEAD_BYTES = 1024
_ANEW = "make it anew with: orchestrator plan MANIFEST -o FILE"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SavedJob(_Part):
    """One job as it was seen; see PlannedJob. Files of before there were chains have nothing that has a default.

    `row_place` says where its row stands.
    """

    ordinal: int | None = None
    id: str
    type: Literal["image", "video", "text"]
    model: str
    estimate: Amount
    labels: dict[str, str]
    item: dict[str, Any]
    fingerprint: str | None = None
    take: int | None = None
    has_gate: bool = False
    row: dict[str, Any] | None = None
    row_place: str | None = None


class SavedMedium(_Part):
    """The bytes behind a `$media`: in a local file, or in base64 where the manifest held them."""

    bytes: int
    path: Path | None = None
    base64: str | None = None
    turned_from: str | None = None
    uri: str | None = None


class SavedManifest(_Part):
    """The file that was planned; `sha256` is None where it could not be read twice, as a pipe cannot."""

    file: str
    sha256: str | None


class SavedPlan(_Part):
    """A valid plan. Prices are credits, whoever pays, tolerances fractions; `budget` is the least of all caps, in the
    unit of `payment`.
    """

    saved_plan: Literal[1] = 1
    manifest: SavedManifest
    name: str
    destination: str | None
    key: str
    bundle: int
    labels: dict[str, str]
    catalog: dict[str, str]
    estimate: Amount
    usd_per_credit: Amount
    budget: Amount | None
    budget_usd: Amount | None
    price_tolerance: Amount | None
    canary: Annotated[int, Field(ge=1)] | None
    stop_when_failed_over: Amount | None
    warnings: tuple[Diagnostic, ...]
    media: dict[str, SavedMedium]
    jobs: tuple[SavedJob, ...]
    rejected: tuple[RejectedJob, ...] = ()
    notify: tuple[dict[str, Any], ...] = ()
    reuse: Reuse = "collection"
    partial: bool = False
    payment: Payment = Payment.CREDITS

    @property
    def job_count(self) -> int:
        return len(self.jobs) + len(self.rejected)


def saved_plan_text(plan: Plan) -> bytes:
    """The file's bytes for a valid plan; equal plans give equal bytes."""
    document = _saved(plan).model_dump(mode="json")
    document = {_KEY: document.pop(_KEY), "digest": _digest(document), **document}
    return (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace")


def is_saved_plan(path: Path) -> bool:
    """Whether the file at `path` is a saved plan, whole or not, by its content. A pipe is not read for it."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
            if _HEAD.match(head) or not head.lstrip().startswith(b"{"):
                return _HEAD.match(head) is not None
            data = head + file.read(_MAX_BYTES)
        document = json.loads(data) if b'"saved_plan"' in data else None
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(document, dict) and _KEY in document


def read_saved_plan(path: Path, findings: Findings) -> SavedPlan | None:
    """The plan in the file, or None after a report of why it cannot be trusted."""
    try:
        return _trusted(path)
    except _Fault as fault:
        findings.error(Code.MANIFEST_UNREADABLE, START, f"the saved plan {fault}; {_ANEW}")
        return None


def manifest_sha256(file: str) -> str | None:
    """The hash of the manifest's bytes, or None where it is not there, or is no file of its own."""
    try:
        return hashlib.sha256(Path(file).read_bytes()).hexdigest() if Path(file).is_file() else None
    except (OSError, ValueError):
        return None


class _Fault(Exception):
    """Why a file is not the plan that was saved."""


def _trusted(path: Path) -> SavedPlan:
    document = _document(path)
    version = document.get(_KEY)
    if type(version) is not int or version != 1:
        raise _Fault("is of another release")
    if document.pop("digest", None) != _digest({name: value for name, value in document.items() if name != _KEY}):
        raise _Fault("was changed after it was made: its digest does not fit its content")
    try:
        return SavedPlan.model_validate(document)
    except ValidationError:
        raise _Fault("is of another release") from None


def _document(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise _Fault(f"cannot be read: {error.strerror}") from None
    if len(data) > _MAX_BYTES:
        raise _Fault(f"is larger than {_MAX_BYTES // 1024**2} MiB")
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        raise _Fault("is cut short, or was changed after it was made: it is not JSON") from None
    return document if isinstance(document, dict) else {}


def _digest(content: dict[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def _saved(plan: Plan) -> SavedPlan:
    return SavedPlan(
        manifest=SavedManifest(file=plan.source, sha256=manifest_sha256(plan.source)),
        name=str(plan.name),
        destination=plan.destination,
        key=plan.key,
        bundle=plan.bundle,
        labels=plan.labels,
        catalog=plan.catalog.info(),
        estimate=plan.estimate,
        usd_per_credit=plan.usd_per_credit,
        budget=plan.budget,
        budget_usd=plan.budget_usd,
        price_tolerance=plan.price_tolerance,
        canary=plan.canary,
        stop_when_failed_over=plan.stop_when_failed_over,
        warnings=plan.warnings,
        media={sha256: _medium(blob) for sha256, blob in plan.media.items()},
        jobs=tuple(_job(job) for job in plan.jobs),
        rejected=plan.rejected,
        notify=plan.notify,
        reuse=plan.reuse,
        partial=plan.partial,
        payment=plan.payment,
    )


def _medium(blob: MediaBlob) -> SavedMedium:
    data = None if blob.data is None else base64.b64encode(blob.data).decode("ascii")
    return SavedMedium(bytes=blob.size_bytes, path=blob.path, base64=data, turned_from=blob.turned_from, uri=blob.uri)


def _job(job: PlannedJob) -> SavedJob:
    return SavedJob.model_validate({name: getattr(job, name) for name in SavedJob.model_fields})
