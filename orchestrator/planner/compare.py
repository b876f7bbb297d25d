"""A plan against what its collection has: what is reused, what is bought and why, what is not worth sending. Pure."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from graphlib import TopologicalSorter
from itertools import takewhile
from typing import Any

from orchestrator.base.diagnostics import Code, Diagnostic
from orchestrator.base.money import ZERO, in_words
from orchestrator.base.states import Gate, JobState
from orchestrator.planner.fingerprint import canonical_item, differences
from orchestrator.planner.result import Plan, PlannedJob
from orchestrator.planner.standing import LEFT_OUT, History, PastJob, Standing, Verdict

#: What is paid for and has no result yet.
_PAID_JOBS = (JobState.SUBMITTING, JobState.GENERATING, JobState.COPYING)


@dataclass(frozen=True, slots=True)
class Comparison:
    """The jobs of a plan, each with its verdict, and the names that the collection has and the plan has not.

    `history` is what it was compared with.
    """

    plan: Plan
    history: History
    verdicts: tuple[Verdict, ...]
    removed: tuple[str, ...] = ()

    @property
    def reused(self) -> dict[int, PastJob]:
        """By ordinal: the past job whose result each reused job has."""
        return {v.job.ordinal: v.source for v in self.verdicts if v.standing is Standing.REUSED and v.source}

    @property
    def gates(self) -> dict[int, Gate]:
        """By ordinal: the answers that the results of reused jobs with gates were given before."""
        gated = [verdict for verdict in self.verdicts if verdict.job.has_gate]
        answers = {verdict.job.ordinal: _answer(verdict, self.history) for verdict in gated}
        return {ordinal: answer for ordinal, answer in answers.items() if answer is not None}

    @property
    def left_out(self) -> dict[int, Verdict]:
        """By ordinal: the jobs that are not sent although there is no result of them."""
        return {verdict.job.ordinal: verdict for verdict in self.verdicts if verdict.standing in LEFT_OUT}

    @property
    def estimate(self) -> Decimal:
        """What all that is bought costs in credits by the catalogue, whoever pays."""
        return sum((verdict.job.estimate for verdict in self.verdicts if verdict.is_bought), ZERO)

    def bought(self) -> Plan:
        """The plan of what is bought alone: its price, its models, and a budget that it is held against anew."""
        jobs = tuple(verdict.job for verdict in self.verdicts if verdict.is_bought)
        job_count = len(jobs) + len(self.plan.rejected)
        bought = replace(self.plan, jobs=jobs, job_count=job_count, estimate=self.estimate)
        return replace(bought, errors=tuple(_against_budget(bought)))

    def counts(self) -> dict[str, int]:
        """How many jobs stand how."""
        found = Counter(verdict.standing for verdict in self.verdicts)
        return {str(standing): found[standing] for standing in Standing} | {"removed": len(self.removed)}

    def document(self) -> dict[str, Any]:
        """The `plan --compare` document: all jobs are counted, and only what is bought is priced."""
        return self.bought().document() | {
            "jobs": self.plan.run_count,
            "reused": len(self.reused),
            "skipped": len(self.left_out),
            "compare": {
                "counts": self.counts(),
                "jobs": [verdict.document() for verdict in self.verdicts],
                "removed": list(self.removed),
            },
        }


def compare(
    plan: Plan,
    history: History,
    *,
    missing: Collection[int] = (),
    again: Collection[str] | None = (),
) -> Comparison:
    """What to do with each job of a plan.

    `missing` are the past jobs (by row) whose files were looked for in vain. The jobs named in `again` (None: all of
    them) are bought whatever there is.
    """
    by_id = {job.id: _verdict(job, history, missing, again is None or job.id in again) for job in plan.jobs}
    _mind_needs(plan, history, by_id)
    verdicts = tuple(by_id[job.id] for job in plan.jobs)
    names = {job.id for job in plan.jobs} | {job.id for job in plan.rejected}
    removed = () if plan.partial else tuple(sorted(history.by_name.keys() - names))
    return Comparison(plan, history, verdicts, removed)


def _verdict(job: PlannedJob, history: History, missing: Collection[int], again: bool) -> Verdict:
    past = history.by_fingerprint.get(job.fingerprint or "", ())
    if not past:
        return _unknown(job, history.by_name.get(job.id))
    if again:
        return Verdict(job, Standing.AGAIN, past[0])
    made = [one for one in past if one.state is JobState.COMPLETED]
    there = [one for one in made if one.pk not in missing]
    if there:
        return Verdict(job, Standing.REUSED, max(there, key=partial(_preference, job, history)))
    under_way = [one for one in past if one.state in _PAID_JOBS]
    if under_way:
        return Verdict(job, Standing.UNDER_WAY, under_way[0])
    in_doubt = [one for one in past if one.state is JobState.IN_DOUBT]
    if in_doubt:
        return Verdict(job, Standing.IN_DOUBT, in_doubt[0])
    since_made = list(takewhile(lambda one: one.state is not JobState.COMPLETED, past))
    charged = [one for one in since_made if one.was_charged]
    if charged or past[0].failed_for_good:
        return Verdict(job, Standing.FAILED_BEFORE, [*charged, past[0]][0])
    return Verdict(job, Standing.ASSET_MISSING, made[0]) if made else Verdict(job, Standing.RETRIED, past[0])


def _preference(job: PlannedJob, history: History, one: PastJob) -> tuple[bool, bool, bool, int]:
    """The greater, the rather a result is reused: one that nobody rejected, from here, of this name, the newest."""
    is_wanted = one.origin_pk not in history.rejected
    return is_wanted, one.destination == history.destination, one.name == job.id, one.pk


def _mind_needs(plan: Plan, history: History, verdicts: dict[str, Verdict]) -> None:
    """What becomes of jobs by that of those that they need, from the beginnings of the chains to their ends.

    What is there is kept where what it was made from is not to be had any more, and bought anew where that is.
    """
    rejected = {job.id for job in plan.rejected}
    for job_id in TopologicalSorter({job.id: job.needs for job in plan.jobs if job.needs}).static_order():
        own = verdicts.get(job_id)
        if own is None or not own.job.needs:
            continue
        stops = [why for need in own.job.needs if (why := _stops(need, verdicts.get(need), history, rejected))]
        anew = [need for need in own.job.needs if need in verdicts and verdicts[need].is_bought]
        if stops and own.is_bought:
            verdicts[job_id] = replace(own, standing=Standing.DEPENDENCY_FAILED, cause=f"it needs {stops[0]}")
        elif anew and not stops and _may_differ(own):
            verdicts[job_id] = replace(own, standing=Standing.CHANGED, cause=f"made from {anew[0]}, which is made anew")


def _stops(need: str, verdict: Verdict | None, history: History, rejected: Collection[str]) -> str | None:
    """Why a needed job keeps those that need it from being bought, in words."""
    if need in rejected:
        return f"{need}, which is rejected"
    if verdict is None:
        return None
    if verdict.standing in LEFT_OUT:
        return f"{need}, which is left out"
    reused = verdict.source if verdict.standing is Standing.REUSED else None
    was_rejected = reused is not None and reused.origin_pk in history.rejected
    return f"{need}, whose result was rejected" if was_rejected or _answer(verdict, history) is Gate.REJECTED else None


def _may_differ(verdict: Verdict) -> bool:
    """Whether another input may make it another one, and nothing was paid for in vain before."""
    if verdict.standing is Standing.FAILED_BEFORE:
        return verdict.source is None or not verdict.source.was_charged
    return verdict.standing is Standing.REUSED


def _answer(verdict: Verdict, history: History) -> Gate | None:
    """What a reused result's gate was answered before."""
    if verdict.standing is not Standing.REUSED or verdict.source is None or not verdict.job.has_gate:
        return None
    return history.gates.get(verdict.source.origin_pk)


def _unknown(job: PlannedJob, before: PastJob | None) -> Verdict:
    if before is None or (before.was_never_sent and before.fingerprint == job.fingerprint):
        return Verdict(job, Standing.NEW, before)
    return Verdict(job, Standing.CHANGED, before, _changed_fields(before, job))


def _changed_fields(before: PastJob, job: PlannedJob) -> tuple[str, ...]:
    if not before.item:  # the row it is made from could not be read
        return ()
    old = canonical_item(type=before.type, model=before.model, item=before.item)
    return tuple(differences(old, canonical_item(type=job.type, model=job.model, item=job.item)))


def _against_budget(bought: Plan) -> list[Diagnostic]:
    """The plan's errors, with what is bought, not the whole plan, held against its budget."""
    others = [error for error in bought.errors if error.code is not Code.OVER_BUDGET]
    over = [error for error in bought.errors if error.code is Code.OVER_BUDGET]
    amount = bought.amount
    if not over or bought.budget is None or amount <= bought.budget:
        return others
    limit = over[0].message.partition(", ")[2]
    price = in_words(amount, bought.payment.unit)
    return [*others, replace(over[0], message=f"what is to be bought costs {price}, {limit}")]
