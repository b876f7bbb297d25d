"""A planned batch as it is stored, and the rows of its jobs. Pure."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from orchestrator.base.money import ZERO
from orchestrator.base.payments import Payment, Unit
from orchestrator.base.states import ENDED_JOBS, Gate, JobError, JobState, WaitsFor
from orchestrator.catalog.models import Catalog
from orchestrator.planner.result import PlannedJob, RejectedJob
from orchestrator.planner.usdc import amount_of
from orchestrator.store.canaries import choose_canaries


@dataclass(frozen=True, slots=True)
class NewBatch:
    """A planned batch as it is stored; `estimated` is the price of what it buys, in the unit of `payment` like its
    `budget`, and `work_credits` what the catalogue asks for that in credits, where USDC pays.

    `submit_key`: whoever submits with it again gets this batch. `unusual`: why it sends nothing until it is approved.
    By ordinal, `reused` are the earlier jobs (by row) whose results jobs have, `gates` the answers that these were
    given before, and `left_out` the errors of those that are skipped from the start. `moved` are the new URIs of
    earlier assets (by row) in this batch's destination.
    `partial`: the rest of the collection stays as it is.
    """

    id: str
    name: str
    sandbox: bool
    account_pk: int
    destination: str
    media: str
    key: str
    bundle: int
    labels: dict[str, str]
    manifest: str
    catalog: Catalog
    estimated: Decimal
    budget: Decimal | None
    usd_per_credit: Decimal
    jobs: Sequence[PlannedJob]
    price_tolerance: Decimal | None = None
    canary: int | None = None
    stop_when_failed_over: Decimal | None = None
    submit_key: str | None = None
    unusual: str | None = None
    reused: Mapping[int, int] = field(default_factory=dict)
    gates: Mapping[int, Gate] = field(default_factory=dict)
    left_out: Mapping[int, dict[str, Any]] = field(default_factory=dict)
    moved: Mapping[int, str] = field(default_factory=dict)
    rejected: Sequence[RejectedJob] = ()
    partial: bool = False
    notify: Sequence[dict[str, Any]] = ()
    payment: Payment = Payment.CREDITS
    work_credits: Decimal | None = None

    def is_sent(self, job: PlannedJob) -> bool:
        """Whether a job is there to be bought."""
        return job.ordinal not in self.reused and job.ordinal not in self.left_out


class JobRow(NamedTuple):
    """A row of `job` as COPY takes it: its columns by their names, with JSON as text."""

    batch_id: str
    account_pk: int
    ordinal: int
    name: str
    type: str
    model: str
    item: str
    labels: str
    estimate: Decimal
    state: str
    dependents_due: bool
    due_at: datetime
    ended_at: datetime | None
    row: str | None
    work_credits: Decimal | None = None
    fingerprint: str | None = None
    gate: str | None = None
    waits_for: str | None = None
    error: str | None = None
    reused_from_pk: int | None = None
    spent: Decimal | None = None
    attempts: int = 0
    copy_failures: int = 0


def job_rows(batch: NewBatch, origins: Mapping[int, int], now: datetime) -> Iterator[JobRow]:
    """The rows of all its jobs, as of `now`. `origins`: of each earlier job (by row) that is reused, the one that was
    sent.
    """
    waits = _waits_for_canaries(batch)
    needed = {need for job in batch.jobs for need in job.needs}
    for job in batch.jobs:
        yield _job_row(job, batch, waits, needed, origins, now)
    for rejected in batch.rejected:
        yield _rejected_row(rejected, batch, needed, now)


def _waits_for_canaries(batch: NewBatch) -> set[int]:
    """The jobs (by ordinal) that wait until the canaries among the bought ones have been looked at."""
    if batch.canary is None:
        return set()
    sent = list(filter(batch.is_sent, batch.jobs))
    never = {job.id for job in batch.jobs if job.ordinal in batch.left_out} | {job.id for job in batch.rejected}
    return {job.ordinal for job in sent} - choose_canaries(sent, batch.canary, never)


def _job_row(
    job: PlannedJob,
    batch: NewBatch,
    waits_for_canaries: set[int],
    needed: set[str],
    origins: Mapping[int, int],
    now: datetime,
) -> JobRow:
    state, waits_for = _start(job, batch, waits_for_canaries)
    reused = batch.reused.get(job.ordinal)
    return JobRow(
        batch_id=batch.id,
        account_pk=batch.account_pk,
        ordinal=job.ordinal,
        name=job.id,
        type=job.type,
        model=job.model,
        item=json.dumps(job.item),
        labels=json.dumps(job.labels),
        estimate=amount_of(job, batch.payment, batch.bundle, batch.catalog),
        state=state.value,
        dependents_due=job.id in needed,
        due_at=now,
        ended_at=now if state in ENDED_JOBS else None,
        row=None if job.row is None else json.dumps(job.row),
        work_credits=None if batch.payment.unit is Unit.CREDITS else job.estimate,
        fingerprint=job.fingerprint,
        gate=batch.gates.get(job.ordinal, Gate.MANUAL).value if job.has_gate else None,
        waits_for=None if waits_for is None else waits_for.value,
        error=json.dumps(batch.left_out[job.ordinal]) if job.ordinal in batch.left_out else None,
        reused_from_pk=None if reused is None else origins.get(reused),
        spent=None if reused is None else ZERO,
    )


def _start(job: PlannedJob, batch: NewBatch, waits_for_canaries: set[int]) -> tuple[JobState, WaitsFor | None]:
    """The state that a job begins in, and what it waits for."""
    if job.ordinal in batch.reused:
        return JobState.COMPLETED, None
    if job.ordinal in batch.left_out:
        return JobState.SKIPPED, None
    if job.ordinal in waits_for_canaries:
        return JobState.WAITING, WaitsFor.CANARY
    if job.needs:
        return JobState.WAITING, WaitsFor.DEPENDENCY
    return JobState.PENDING, None


def _rejected_row(job: RejectedJob, batch: NewBatch, needed: set[str], now: datetime) -> JobRow:
    """A job that its own row spoilt: nothing of it can be sent."""
    message = f"{job.error.code}: {job.error.message}"
    error = {"code": JobError.REJECTED_INPUT, "message": message, "charged": False, "provider": None}
    return JobRow(
        batch_id=batch.id,
        account_pk=batch.account_pk,
        ordinal=job.ordinal,
        name=job.id,
        type=job.type or "",
        model=job.model or "",
        item="{}",
        labels=json.dumps(job.labels),
        estimate=ZERO,
        state=JobState.REJECTED.value,
        dependents_due=job.id in needed,
        due_at=now,
        ended_at=now,
        row=None if job.row is None else json.dumps(job.row),
        error=json.dumps(error),
    )
