"""A saved plan against what is there now: it runs exactly as it was seen, or says what changed since."""

import base64
import hashlib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

from orchestrator.base.diagnostics import Code, Diagnostic
from orchestrator.catalog.models import Catalog
from orchestrator.manifest.careful_start import CarefulStart
from orchestrator.manifest.findings import Findings, in_order
from orchestrator.manifest.job_keys import ManifestJob, Row
from orchestrator.manifest.load import without_garbage_collection
from orchestrator.manifest.nodes import Entry, Mapping, Scalar, node_of
from orchestrator.manifest.repeat import Job
from orchestrator.manifest.schema import Budget, Manifest
from orchestrator.planner import limits
from orchestrator.planner.fields import fields_beside_extra
from orchestrator.planner.item_media import as_written, media_of
from orchestrator.planner.media import MediaReader
from orchestrator.planner.plan import plan_manifest
from orchestrator.planner.price_changes import report_price_changes
from orchestrator.planner.result import MediaBlob, Plan, PlannedJob, RejectedJob
from orchestrator.planner.saved import START, SavedJob, SavedMedium, SavedPlan, manifest_sha256, read_saved_plan


@without_garbage_collection()
def replan(
    path: Path,
    catalog: Catalog,
    *,
    usd_per_credit: Decimal,
    max_credits: Decimal | None = None,
    canary: int | None = None,
) -> Plan:
    """The plan saved at `path`: its items as they were seen, checked against `catalog` and priced by it.

    What changed since is in `errors` where it stands against running the plan, else in `warnings`. Never raises for
    a fault of the file. `max_credits` and `canary` are as for `plan`.
    """
    findings = Findings(str(path))
    check = partial(plan_manifest, reader=MediaReader(path.parent), catalog=catalog, usd_per_credit=usd_per_credit)
    saved = read_saved_plan(path, findings)
    if saved is None:
        return check(Manifest(), findings=findings, limit=None, canary=canary)
    both = limits.of_command(max_credits, saved.payment), limits.of_saved_plan(saved.budget, saved.payment)
    manifest = _manifest(saved, without=_broken_media(saved, findings))
    fresh = check(
        manifest,
        findings=findings,
        limit=min((limit for limit in both if limit is not None), key=lambda limit: limit.amount, default=None),
        canary=canary,
        absent=_ids(saved.rejected) | _ids(saved.jobs) - _ids(manifest.jobs),
    )
    return _as_seen(saved, fresh)


def _ids(jobs: Iterable[SavedJob | RejectedJob | Job]) -> frozenset[str]:
    return frozenset(job.id for job in jobs if job.id is not None)


def _broken_media(saved: SavedPlan, findings: Findings) -> set[str]:
    """The hashes of local files that are not what they were; each is reported with a job that needs it."""
    jobs_of: dict[str, list[str]] = defaultdict(list)
    for job in saved.jobs:
        for sha256 in set(media_of(job.item)):
            jobs_of[sha256].append(job.id)
    broken = set()
    for sha256, jobs in jobs_of.items():
        path = saved.media[sha256].path
        if path is None or (now := _sha256(path)) == (saved.media[sha256].turned_from or sha256):
            continue
        broken.add(sha256)
        code, what = (Code.MEDIA_CHANGED, "has changed") if now else (Code.MEDIA_FILE_MISSING, "is gone")
        others = f" and {len(jobs) - 1} more" if len(jobs) > 1 else ""
        message = f"`{path}` of job `{jobs[0]}`{others} {what} since the plan was made; plan again"
        findings.for_job(jobs[0]).error(code, START, message, str(path))
    return broken


def _sha256(path: Path) -> str | None:
    """The hash of a file's bytes now; None where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError):
        return None


def _manifest(saved: SavedPlan, *, without: set[str]) -> Manifest:
    """The manifest that says what the plan does, less the jobs that need media of `without`."""
    return Manifest(
        name=saved.name,
        destination=saved.destination,
        key=saved.key,
        budget=None if saved.budget_usd is None else Budget(saved.budget_usd, "usd", START),
        payment=saved.payment,
        payment_node=START,
        bundle=saved.bundle,
        careful_start=CarefulStart(saved.price_tolerance, saved.canary, saved.stop_when_failed_over),
        labels=saved.labels,
        notify=saved.notify,
        reuse=saved.reuse,
        partial=saved.partial,
        jobs=tuple(
            _manifest_job(number, job, saved.media)
            for number, job in enumerate(saved.jobs)
            if without.isdisjoint(media_of(job.item))
        ),
    )


def _manifest_job(number: int, job: SavedJob, media: dict[str, SavedMedium]) -> ManifestJob:
    medium = partial(_medium, media=media)
    item = {name: Entry(Scalar(name, 1, 1), node_of(as_written(value, medium))) for name, value in job.item.items()}
    documented = fields_beside_extra(job.type)
    fields = {name: entry for name, entry in item.items() if name in documented}
    extra = {name: entry for name, entry in item.items() if name not in documented}
    node = Mapping({"id": Entry(Scalar("id", 1, 1), Scalar(job.id, 1, 1))}, 1, 1)
    return ManifestJob(
        ordinal=number if job.ordinal is None else job.ordinal,
        id=job.id,
        node=node,
        labels=job.labels,
        extra=extra,
        fields=fields,
        take=job.take,
        has_gate=job.has_gate,
        row=None if job.row is None else Row(job.row, job.row_place or ""),
    )


def _medium(value: dict[str, Any], media: dict[str, SavedMedium]) -> str:
    """A medium as a manifest gives it: a path, a data URL, base64."""
    medium = media[value["$media"]]
    return f"{value['prefix']}{medium.base64}" if medium.path is None else str(medium.path)


def _as_seen(saved: SavedPlan, fresh: Plan) -> Plan:
    changes = Findings(fresh.file)
    seen = {job.id: job for job in saved.jobs}
    report_price_changes(saved, fresh, changes)
    return replace(
        fresh,
        jobs=tuple(_job_as_seen(seen[job.id], job) for job in fresh.jobs),
        job_count=saved.job_count,
        rejected=saved.rejected,
        errors=in_order([*fresh.errors, *changes.errors]),
        warnings=(*saved.warnings, *in_order([*_news(saved, fresh), *changes.warnings, *_edits(saved, fresh.file)])),
        media={sha256: _blob(sha256, medium) for sha256, medium in saved.media.items()},
    )


def _job_as_seen(seen: SavedJob, job: PlannedJob) -> PlannedJob:
    return job._replace(item=seen.item, fingerprint=seen.fingerprint or job.fingerprint)


def _news(saved: SavedPlan, fresh: Plan) -> list[Diagnostic]:
    """What the present catalogue warns of and the one that was seen did not."""
    seen = {(warning.code, warning.field) for warning in saved.warnings}
    return [warning for warning in fresh.warnings if (warning.code, warning.field) not in seen]


def _edits(saved: SavedPlan, file: str) -> list[Diagnostic]:
    """A later edit of the manifest, of which the plan takes no notice."""
    now = manifest_sha256(saved.manifest.file)
    if saved.manifest.sha256 is None or now in (None, saved.manifest.sha256):
        return []
    message = f"{saved.manifest.file} was changed since; what was planned then is what runs"
    return [Diagnostic(Code.MANIFEST_CHANGED, message, file)]


def _blob(sha256: str, medium: SavedMedium) -> MediaBlob:
    data = None if medium.base64 is None else base64.b64decode(medium.base64)
    return MediaBlob(sha256, medium.bytes, medium.path, data, medium.turned_from, medium.uri)
