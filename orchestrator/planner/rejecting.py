"""`on_invalid`: jobs that are left out because of what their own rows say, as long as they are few."""

from collections.abc import Sequence
from decimal import Decimal

from orchestrator.manifest.findings import Findings
from orchestrator.manifest.nodes import Scalar
from orchestrator.planner.gathering import gather
from orchestrator.planner.job import CheckedJob
from orchestrator.planner.result import RejectedJob


def reject_rows(
    checked: Sequence[CheckedJob], at_most: Decimal | int | None, findings: Findings
) -> tuple[RejectedJob, ...]:
    """The jobs that are left out; what was found of all of them goes into `findings`.

    These are the ones with no other errors than those of their own rows, and their errors become warnings. Where there
    are more than `at_most` of them, a number or a fraction of all jobs, none is left out, and all errors stand.
    """
    limit = int(at_most * len(checked)) if isinstance(at_most, Decimal) else at_most or 0
    noted = [job for job in checked if job.errors or job.findings.warnings]
    bad = [job for job in noted if job.errors and all(job.job.blames_row(error) for error in job.errors)]
    left_out = {job.job.ordinal: job for job in bad} if len(bad) <= limit else {}
    faults = {fault for job in left_out.values() for fault in job.job.faults}
    findings.warnings += [error for error in findings.errors if error in faults]
    findings.errors[:] = [error for error in findings.errors if error not in faults]
    gather(noted, left_out, findings)
    names = {job.job.id for job in checked if left_out and job.job.ordinal not in left_out}
    return tuple(_rejected(job, names) for job in left_out.values())


def _rejected(checked: CheckedJob, names: set[str | None]) -> RejectedJob:
    """The job under a name of its own, which is added to `names`; without a good one it is named by its row's place."""
    job = checked.job.in_full()
    name = wanted = job.id or (job.row.place if job.row else "a job")
    number = 1
    while name in names:
        number += 1
        name = f"{wanted} ({number})"
    names.add(name)
    model = job.fields["model"].value if "model" in job.fields else None
    return RejectedJob(
        ordinal=job.ordinal,
        id=name,
        type=checked.type,
        model=model.value if isinstance(model, Scalar) and isinstance(model.value, str) else None,
        labels=job.labels,
        row=job.row.columns if job.row else None,
        error=min(checked.errors, key=lambda error: error.sort_key()),
    )
