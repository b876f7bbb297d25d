"""Checks all jobs; what repeats a sound one takes over what was found out about that one."""

from collections.abc import Iterable
from typing import Any

from orchestrator.catalog.models import Catalog
from orchestrator.manifest.nodes import Entry, Node, Scalar, Sequence
from orchestrator.manifest.repeat import Job, Repeat
from orchestrator.planner.fingerprint import SeriesFingerprints
from orchestrator.planner.job import CheckedJob, check_job
from orchestrator.planner.media import MediaFault, MediaReader
from orchestrator.planner.result import PlannedJob


def check_jobs(
    jobs: Iterable[Job], defaults: dict[str, Entry], catalog: Catalog, reader: MediaReader, file: str
) -> list[CheckedJob]:
    """All rules about each job alone; see `check_job`."""
    checked: list[CheckedJob] = []
    series: dict[int, _Series | None] = {}
    for job in jobs:
        if not isinstance(job, Repeat):
            checked.append(check_job(job, defaults, catalog, reader, file))
            continue
        first = job.pattern.ordinal
        if first not in series:
            series[first] = _series_of(checked[first], job, reader)
        known = series[first]
        found = known.check(job) if known else None
        checked.append(found or check_job(job.in_full(), defaults, catalog, reader, file))
        series[first] = known or _series_of(checked[-1], job, reader)
    return checked


class _Series:
    """Jobs that differ in their own texts alone: one of them is good, and so are all."""

    def __init__(self, first: CheckedJob, planned: PlannedJob, pictures: Iterable[str], reader: MediaReader) -> None:
        self._first = first
        self._planned = planned
        self._reader = reader
        self._fingerprints = SeriesFingerprints(
            type=planned.type, model=planned.model, item=planned.item, pictures=pictures
        )

    def check(self, job: Repeat) -> CheckedJob | None:
        """A job that needs no other check; None where a picture of its own cannot be used."""
        like = self._planned
        own: dict[str, Any] = {}
        if job.prompt is not None:
            own["prompt"] = job.prompt
        if job.pictures:
            try:
                own |= {name: self._media(node) for name, node in job.pictures.items()}
            except MediaFault:
                return None
        item = like.item | own
        digest = self._fingerprints.of(item) if own else like.fingerprint
        planned = PlannedJob(
            job.ordinal,
            job.id,
            like.type,
            like.model,
            item,
            job.labels,
            like.estimate,
            digest,
            (),
            like.has_gate,
            job.columns,
            None,
            job.place,
        )
        return CheckedJob(job, self._first.type, self._first.findings, (), planned)

    def _media(self, node: Node) -> Any:
        """What stands in the item for plain names of pictures."""
        if isinstance(node, Sequence):
            return [self._media(item) for item in node.items]
        assert isinstance(node, Scalar)
        return self._reader.read(str(node.value), "image", node.within).value


def _series_of(first: CheckedJob, job: Repeat, reader: MediaReader) -> _Series | None:
    """The series of a job about which there is nothing to say and of `job`, which repeats it; None where each job of it
    may be another case. That of a text is: its price depends on how long its prompt is.
    """
    findings = first.findings
    is_alike = first.type != "text" and not (findings.errors or findings.warnings or first.references)
    return _Series(first, first.planned, job.pictures, reader) if is_alike and first.planned is not None else None
