"""Checks all jobs; what repeats a sound one takes over what was found out about that one."""

from collections.abc import Iterable

from orchestrator.catalog.models import Catalog
from orchestrator.manifest.nodes import Entry
from orchestrator.manifest.repeat import Job, Repeat
from orchestrator.planner.fingerprint import PromptFingerprints
from orchestrator.planner.job import CheckedJob, check_job
from orchestrator.planner.media import MediaReader
from orchestrator.planner.result import PlannedJob


def check_jobs(
    jobs: Iterable[Job], defaults: dict[str, Entry], catalog: Catalog, reader: MediaReader, file: str
) -> list[CheckedJob]:
    """All rules about each job alone; see `check_job`."""
    checked: list[CheckedJob] = []
    series: dict[int, _Series | None] = {}
    for job in jobs:
        if isinstance(job, Repeat):
            first = job.pattern.ordinal
            if first not in series:
                series[first] = _series_of(checked[first])
            if known := series[first]:
                checked.append(known.check(job))
                continue
            job = job.in_full()
        checked.append(check_job(job, defaults, catalog, reader, file))
    return checked


class _Series:
    """Jobs that differ in their own texts alone: the first of them is good, and so are all."""

    def __init__(self, first: CheckedJob, planned: PlannedJob) -> None:
        self._first = first
        self._planned = planned
        self._fingerprints = PromptFingerprints(type=planned.type, model=planned.model, item=planned.item)

    def check(self, job: Repeat) -> CheckedJob:
        """A job that needs no other check."""
        like = self._planned
        item, fingerprint = like.item, like.fingerprint
        if job.prompt is not None:
            item = item | {"prompt": job.prompt}
            fingerprint = self._fingerprints.of(job.prompt)
        planned = PlannedJob(
            job.ordinal,
            job.id,
            like.type,
            like.model,
            item,
            job.labels,
            like.estimate,
            fingerprint,
            (),
            like.has_gate,
            job.columns,
            None,
            job.place,
        )
        return CheckedJob(job, self._first.type, self._first.findings, (), planned)


def _series_of(first: CheckedJob) -> _Series | None:
    """The series of a job about which there is nothing to say; None where each job of it may be another case.

    That of a text is: its price depends on how long its prompt is.
    """
    findings = first.findings
    is_alike = first.type != "text" and not (findings.errors or findings.warnings or first.references)
    return _Series(first, first.planned) if is_alike and first.planned is not None else None
