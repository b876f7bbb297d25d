"""The concrete jobs of a manifest, as they are found: numbered, and no two with one id."""

from dataclasses import replace

from orchestrator.base.diagnostics import Code
from orchestrator.manifest import values
from orchestrator.manifest.findings import Findings
from orchestrator.manifest.job_keys import MAX_JOBS, ManifestJob
from orchestrator.manifest.repeat import Job

MAX_ID_CHARACTERS = 200


class JobList:
    """`jobs` are those found so far; each stands at its ordinal."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self._known: dict[str, int] = {}

    @property
    def next_ordinal(self) -> int:
        """The ordinal that the next job has to have."""
        return len(self.jobs)

    def add(self, job: ManifestJob, takes: int | None, findings: Findings) -> None:
        """Adds the job, or each of its takes as `id.1`, `id.2`; what is wrong with their ids goes to `findings`.

        One job above MAX_JOBS is kept, and no more.
        """
        if takes is None:
            self._add(job, findings)
            return
        for take in range(1, takes + 1):
            if len(self.jobs) > MAX_JOBS:
                return
            job_id = None if job.id is None else f"{job.id}.{take}"
            self._add(replace(job, ordinal=self.next_ordinal, id=job_id, take=take), findings)

    def claim(self, job_id: str) -> int | None:
        """The ordinal of a job of this id that is about to be added to `jobs`; None where that would be a fault."""
        ordinal = len(self.jobs)
        if job_id in self._known or len(job_id) > MAX_ID_CHARACTERS or ordinal >= MAX_JOBS:
            return None
        self._known[job_id] = ordinal
        return ordinal

    def _add(self, job: ManifestJob, findings: Findings) -> None:
        if job.id is not None and not self._is_claimed(job.id, job, findings) and job.blames_row(findings.errors[-1]):
            job = replace(job, faults=(*job.faults, findings.errors[-1]))
        self.jobs.append(job)

    def _is_claimed(self, job_id: str, job: ManifestJob, findings: Findings) -> bool:
        """Whether the id is a good one that no other job has; else says why not."""
        place = job.node.entries["id"].value
        if len(job_id) > MAX_ID_CHARACTERS:
            message = f"`id` has {len(job_id)} characters; at most {MAX_ID_CHARACTERS} are allowed"
            findings.error(Code.INVALID_VALUE, place, message, "id")
            return False
        if job_id in self._known:
            message = f"`{values.shorten(job_id)}` is already the id of the job {self._place(self._known[job_id])}"
            findings.error(Code.DUPLICATE_JOB_ID, place, message, "id")
            return False
        self._known[job_id] = job.ordinal
        return True

    def _place(self, ordinal: int) -> str:
        """Where a job is from, in the words of a message."""
        first = self.jobs[ordinal].in_full()
        return f"of {first.origin}" if first.origin else f"on line {first.node.entries['id'].value.line}"
