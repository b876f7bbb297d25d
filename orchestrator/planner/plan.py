"""The whole flow of planning: read → check each job → price → compare with the budget."""

from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

from orchestrator.base.diagnostics import Code
from orchestrator.base.money import ZERO
from orchestrator.base.payments import Unit
from orchestrator.catalog.models import Catalog
from orchestrator.manifest.files import uri_beside, uri_of
from orchestrator.manifest.findings import Findings, in_order
from orchestrator.manifest.load import load_manifest, without_garbage_collection
from orchestrator.manifest.schema import Manifest
from orchestrator.planner import limits
from orchestrator.planner.chains import Chains, check_chains
from orchestrator.planner.fields import PROVIDER_FIELDS
from orchestrator.planner.fingerprint import with_fingerprints
from orchestrator.planner.inputs import pictures
from orchestrator.planner.job import CheckedJob
from orchestrator.planner.limits import Limit
from orchestrator.planner.media import MediaReader, Remote
from orchestrator.planner.rejecting import reject_rows
from orchestrator.planner.result import MediaBlob, Plan, PlannedJob
from orchestrator.planner.rules_fields import check_names, check_texts
from orchestrator.planner.series import check_jobs

__all__ = ["MediaBlob", "Plan", "PlannedJob", "plan", "plan_manifest"]


@without_garbage_collection()
def plan(
    path: Path,
    catalog: Catalog,
    *,
    usd_per_credit: Decimal,
    max_credits: Decimal | None = None,
    canary: int | None = None,
    remote: Remote | None = None,
) -> Plan:
    """Checks and prices the manifest at `path`. Never raises for a fault of the file: `Plan.errors` has them all.

    `max_credits` is the caller's own cap; the smaller one of it and the manifest's budget holds. The caller's
    `canary` goes before the manifest's. `remote` reads s3://, which is refused without it.
    """
    findings = Findings(uri_of(path))
    manifest = load_manifest(path, PROVIDER_FIELDS, findings, remote)
    reader = MediaReader(path.parent, auto_rotate=manifest.auto_rotate, remote=remote)
    return plan_manifest(
        manifest,
        reader,
        catalog,
        findings,
        usd_per_credit=usd_per_credit,
        limit=limits.of_command(max_credits, manifest.payment),
        canary=canary,
    )


def plan_manifest(
    manifest: Manifest,
    reader: MediaReader,
    catalog: Catalog,
    findings: Findings,
    *,
    usd_per_credit: Decimal,
    limit: Limit | None,
    canary: int | None,
    absent: frozenset[str] = frozenset(),
) -> Plan:
    """`plan` from the manifest on; `findings` may hold what was wrong with its file.

    `absent` are the ids of jobs that were left out of the manifest, which others may still need.
    """
    check_names(manifest.defaults, None, findings)
    check_texts(manifest.defaults.values(), findings, has_text=not all(job.is_template for job in manifest.jobs))

    reader.read_ahead(pictures(manifest.jobs))
    checked = check_jobs(manifest.jobs, manifest.defaults, catalog, reader, findings.file)
    chains = check_chains(_by_id(checked), absent) if any(job.references for job in checked) else Chains()
    rejected = reject_rows(checked, manifest.skip_at_most, findings)
    jobs = with_fingerprints([job.planned for job in checked if job.planned], chains)
    _check_payable(jobs, manifest, catalog, findings)

    budget = manifest.budget
    cap = limits.of_budget(budget, manifest.payment, usd_per_credit) if budget else None
    caps = [amount for amount in (cap, limit.amount if limit else None) if amount is not None]
    planned = Plan(
        file=findings.file,
        name=manifest.name,
        destination=_destination(manifest.destination, reader.folder),
        key=manifest.key,
        budget=min(caps, default=None),
        budget_usd=budget.amount if budget and budget.unit == "usd" else None,
        bundle=manifest.bundle,
        price_tolerance=manifest.careful_start.price_tolerance,
        canary=canary or manifest.careful_start.canary,
        stop_when_failed_over=manifest.careful_start.stop_when_failed_over,
        labels=manifest.labels,
        jobs=jobs,
        job_count=len(manifest.jobs),
        estimate=sum((job.estimate for job in jobs), ZERO),
        usd_per_credit=usd_per_credit,
        catalog=catalog,
        errors=(),
        warnings=in_order(findings.warnings),
        media=reader.blobs(),
        rejected=rejected,
        notify=manifest.notify,
        reuse=manifest.reuse,
        partial=manifest.partial,
        schedule=manifest.schedule,
        payment=manifest.payment,
    )
    limits.check_limits(planned.amount, manifest.payment, budget, cap, limit, findings)
    return replace(planned, errors=in_order(findings.errors))


def _by_id(checked: Iterable[CheckedJob]) -> dict[str, CheckedJob]:
    """The jobs that have an id; of two of one id, the first."""
    known: dict[str, CheckedJob] = {}
    for job in checked:
        if job.job.id is not None:
            known.setdefault(job.job.id, job)
    return known


def _check_payable(jobs: Iterable[PlannedJob], manifest: Manifest, catalog: Catalog, findings: Findings) -> None:
    """Reports models that take no USDC where it is to pay, each with its first job."""
    if manifest.payment_node is None or manifest.payment.unit is Unit.CREDITS:
        return
    first = {job.model: job.id for job in reversed(list(jobs))}
    for name, job_id in first.items():
        model = catalog.get(name)
        if model is not None and not model.x402:
            message = f"{name} of job `{job_id}` takes credits only, not `payment: {manifest.payment}`"
            findings.for_job(job_id).error(Code.UNSUPPORTED_FIELD, manifest.payment_node, message, "payment")


def _destination(written: str | None, folder: Path) -> str | None:
    """A folder is relative to the manifest."""
    if written is None or "://" in written:
        return written
    path = _without_tilde(Path(written))
    if (prefix := uri_of(folder)).startswith("s3://") and not path.is_absolute():
        return uri_beside(prefix, written)
    return str(folder.absolute() / path)


def _without_tilde(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError:  # nobody's home: a folder of that name
        return path
