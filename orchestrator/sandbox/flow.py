"""The status of a request at an instant: a pure function of what was recorded at its acceptance.

Source: guide, "Main Generation Endpoint": queued and processing, then completed, partial_failure or failed; rejected
when every item was.
"""

from orchestrator.sandbox.records import Job, RequestAccepted

TERMINAL = frozenset({"completed", "partial_failure", "failed", "rejected"})


def job_status(job: Job, now: float) -> str:
    """queued, processing, completed, failed or rejected."""
    if job.outcome == "rejected":
        return "rejected"
    if now < job.started_at:
        return "queued"
    return "processing" if now < job.finished_at else job.outcome


def request_status(request: RequestAccepted, now: float) -> str:
    """The top-level status word."""
    statuses = {job_status(job, now) for job in request.jobs}
    if statuses == {"rejected"}:
        return "rejected"
    if statuses <= {"queued", "rejected"}:
        return "queued"
    if statuses & {"queued", "processing"}:
        return "processing"
    if statuses == {"completed"}:
        return "completed"
    return "partial_failure" if "completed" in statuses else "failed"


def updated_at(request: RequestAccepted, now: float) -> float:
    """When the last change of status up to `now` happened."""
    changes = [at for job in request.jobs for at in (job.started_at, job.finished_at) if at <= now]
    return max(changes, default=request.at)


def finished_at(request: RequestAccepted) -> float:
    """When the last item ends."""
    return max(job.finished_at for job in request.jobs)
