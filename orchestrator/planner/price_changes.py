"""Prices that differ from those a saved plan was seen with: within its tolerance a notice, beyond it a refusal."""

from collections import defaultdict
from decimal import Decimal
from typing import NamedTuple

from orchestrator.base.diagnostics import Code
from orchestrator.base.money import ZERO, canonical
from orchestrator.base.payments import Unit
from orchestrator.manifest.findings import Findings
from orchestrator.planner.result import Plan
from orchestrator.planner.saved import START, SavedPlan


def is_tolerated(before: Decimal, now: Decimal, tolerance: Decimal) -> bool:
    """Whether a price may be paid in place of one that was agreed to: dearer by at most the fraction `tolerance`."""
    return now <= before * (1 + tolerance)


def report_price_changes(saved: SavedPlan, fresh: Plan, findings: Findings) -> None:
    """Every price of `fresh` that is not the one of `saved`, by model and duration; and that of a credit."""
    jobs_at: dict[_Change, list[str]] = defaultdict(list)
    estimates = {job.id: job.estimate for job in saved.jobs}
    for job in fresh.jobs:
        before = estimates[job.id]
        if job.estimate != before:
            jobs_at[_Change(job.model, job.item.get("duration_seconds"), before, job.estimate)].append(job.id)
    for change, jobs in jobs_at.items():
        _report(change, jobs, saved.price_tolerance or ZERO, findings)
    if fresh.payment.unit is Unit.CREDITS and fresh.usd_per_credit != saved.usd_per_credit:
        rates = f"${canonical(fresh.usd_per_credit)} now, ${canonical(saved.usd_per_credit)} when the plan was made"
        findings.warn(Code.PRICE_CHANGED, START, f"a credit counts as {rates}", "usd_per_credit")


class _Change(NamedTuple):
    model: str
    seconds: int | None
    before: Decimal
    now: Decimal


def _report(change: _Change, jobs: list[str], tolerance: Decimal, findings: Findings) -> None:
    work = change.model if change.seconds is None else f"{change.model} ({change.seconds} s)"
    message = (
        f"{work} costs {canonical(change.now)} credits now, {canonical(change.before)} when the plan was made"
        f" ({len(jobs)} job{'s' if len(jobs) > 1 else ''})"
    )
    first = findings.for_job(jobs[0])
    if is_tolerated(change.before, change.now, tolerance):
        first.warn(Code.PRICE_CHANGED, START, message)
    else:
        allowed = f"{canonical(tolerance * 100)}% more is tolerated" if tolerance else "there is no `price_tolerance`"
        first.error(Code.PRICE_CHANGED, START, f"{message}; {allowed}: plan again to see it")
