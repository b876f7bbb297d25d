"""`plan`: what a manifest would cost, and a plan kept in a file to be run later exactly as it was seen."""

import json
import os
import secrets
from contextlib import suppress
from decimal import Decimal
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.base.errors import ManifestError, UsageError
from orchestrator.base.settings import Settings
from orchestrator.catalog.cache import load_catalog
from orchestrator.katana.wire import build_body, build_chat_body
from orchestrator.manifest.suggest import did_you_mean
from orchestrator.planner import plan as planner
from orchestrator.planner.replan import replan
from orchestrator.planner.result import Plan
from orchestrator.planner.saved import is_saved_plan, saved_plan_text
from orchestrator.planner.showing import concrete_job, shortened_item

if TYPE_CHECKING:
    from orchestrator.assets.remote import S3Inputs

_MAX_SUGGESTED_FROM = 1000  # jobs
_ALL_JOBS = "plan --expand shows all of them"


class _Inputs:
    """What is on S3. Its library is loaded when the first of it is read: most manifests have nothing there."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache

    def read(self, uri: str) -> bytes:
        return self._inputs.read(uri)

    def file(self, uri: str) -> Path:
        return self._inputs.file(uri)

    @cached_property
    def _inputs(self) -> "S3Inputs":
        from orchestrator.assets.remote import S3Inputs

        return S3Inputs(self._cache)


def plan(file: Path, settings: Settings, *, max_credits: Decimal | None = None, canary: int | None = None) -> Plan:
    """Validate and price a manifest or a saved plan. Spends nothing; needs no credentials of the provider, no database
    and, but for what is on S3, no network.

    `max_credits` and `canary` are what the command line says about them.
    """
    make = replan if is_saved_plan(file) else partial(planner.plan, remote=_Inputs(inputs_folder(settings.home)))
    catalog = load_catalog(settings.home)
    return make(file, catalog, usd_per_credit=settings.usd_per_credit, max_credits=max_credits, canary=canary)


def inputs_folder(home: Path) -> Path:
    """Where the inputs on S3 are kept as long as they are in use."""
    return home / "inputs"


def require_valid(planned: Plan, consequence: str = "") -> None:
    """Raises ManifestError, whose message ends with `consequence`, unless the plan may be run."""
    if not planned.valid:
        count = len(planned.errors)
        raise ManifestError(
            f"{planned.file} has {count} error{'s' if count > 1 else ''}{consequence}",
            document=planned.document(),
            only_money=planned.only_money,
        )


def expanded(planned: Plan) -> list[dict[str, Any]]:
    """The concrete jobs, as a manifest would say them one by one."""
    return [concrete_job(job, planned.media) for job in planned.jobs]


def request_of(planned: Plan, job_id: str) -> dict[str, Any]:
    """The body of the request that a job makes on its own, with its media cut short. Raises UsageError."""
    job = next((job for job in planned.jobs if job.id == job_id), None)
    if job is not None:
        item = shortened_item(job, planned.media)
        body: dict[str, Any] = json.loads(build_chat_body(item) if job.type == "text" else build_body([item]))
        return body
    rejected = next((job for job in planned.rejected if job.id == job_id), None)
    if rejected is not None:
        raise UsageError(f"{job_id} is left out: {rejected.error.code}: {rejected.error.message}")
    names = [job.id for job in planned.jobs[:_MAX_SUGGESTED_FROM]]
    raise UsageError(f"{planned.file} has no job {job_id}{did_you_mean(job_id, names)}", hint=_ALL_JOBS)


def save_plan(planned: Plan, target: Path) -> None:
    """Keep a manifest's plan at `target`, for `plan` and `submit` to read; a crash leaves no half of a file.

    Raises ManifestError for an invalid plan, and UsageError where `target` is something else already or cannot be
    written.
    """
    require_valid(planned, "; no plan was saved")
    if is_saved_plan(Path(planned.file)):
        raise UsageError(f"{planned.file} is a saved plan already", hint="plan the manifest to save it anew")
    if target.exists() and not is_saved_plan(target):
        raise UsageError(f"{target} is there and is no saved plan; it is left as it is", hint="choose another name")
    try:
        _write(saved_plan_text(planned), target)
    except (OSError, ValueError) as error:
        raise UsageError(f"{target} cannot be written: {getattr(error, 'strerror', None) or error}") from None


def _write(data: bytes, target: Path) -> None:
    part = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        with part.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
