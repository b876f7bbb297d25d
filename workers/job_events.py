"""Jobs in the language of Celery's events, so that Flower shows each attempt of a job as a task. Pure.

| job | event | state in Flower |
|---|---|---|
| waiting, pending | task-sent | PENDING |
| pending after it was taken, or for another try | task-retried | RETRY |
| submitting | task-received | RECEIVED |
| generating, copying | task-started | STARTED |
| completed | task-succeeded | SUCCESS |
| failed, rejected | task-failed | FAILURE |
| cancelled, skipped | task-revoked | REVOKED |
| in_doubt | task-in-doubt | IN-DOUBT |
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid5

from orchestrator.base.states import JobState
from orchestrator.store.job_events import ShownJob
from workers.shown_text import shown, shown_uri

_NAMESPACE = UUID("6d7a1c7e-3f0b-4a56-9d1c-0f2f6a3f9b11")
_UNSENT = (JobState.WAITING, JobState.PENDING)
_AT_PROVIDER = (JobState.GENERATING, JobState.COPYING)
_URIS = 3


@dataclass(frozen=True, slots=True)
class TaskEvent:
    """One event of Celery's: its type, when it happened (None: now), and its fields besides."""

    type: str
    at: datetime | None
    fields: dict[str, Any]


def hostname(job: ShownJob) -> str:
    """Who generates the job: what Flower shows as its worker."""
    return "sandbox" if job.is_sandbox else "katana"


def task_id(job: ShownJob, came_from: str | None) -> str:
    """The id in Flower of an attempt of a job: always the same, whoever tells of it.

    `came_from`: the state that the job was in before, where that is known.
    """
    is_next = job.sent_at is None and came_from != JobState.IN_DOUBT  # one that was not sent is not counted yet
    return str(uuid5(_NAMESPACE, f"{job.batch_id}/{job.pk}/{job.attempts + is_next}"))


def story(job: ShownJob, came_from: str | None) -> list[TaskEvent]:
    """What is to be told of an attempt of a job so far, in order."""
    about = {
        "name": f"{job.type} · {job.model}",
        "args": repr((job.name, job.batch_id, job.collection)),  # the page has room for the first two
        "kwargs": repr({"batch": job.batch_id, "request_id": job.request_id}),
        "retries": max(job.attempts - 1, 0),
    }
    return [TaskEvent(kind, at, about | fields) for kind, at, fields in _steps(job, came_from)]


def _steps(job: ShownJob, came_from: str | None) -> Iterator[tuple[str, datetime | None, dict[str, Any]]]:
    if job.state in _UNSENT:
        is_new = came_from in (None, *_UNSENT)
        yield (
            ("task-sent", job.created_at, {}) if is_new else ("task-retried", None, {"exception": None, "result": None})
        )
        return
    if came_from == JobState.IN_DOUBT and job.state in _AT_PROVIDER:
        yield (
            "task-retried",
            None,
            {"exception": None, "result": None},
        )  # or Flower would keep the doubt, which it takes for later
    elif job.claimed_at is not None:
        yield "task-received", job.claimed_at, {}
    if job.accepted_at is not None:
        yield "task-started", job.accepted_at, {}
    match job.state:
        case JobState.COMPLETED:
            yield "task-succeeded", job.ended_at, {"result": _result(job), "runtime": _runtime_seconds(job)}
        case JobState.FAILED | JobState.REJECTED:
            yield "task-failed", job.ended_at, _said(_error(job)) | {"runtime": _runtime_seconds(job)}
        case JobState.CANCELLED | JobState.SKIPPED:
            reason = _said(_error(job)) if job.error else {}
            yield "task-revoked", job.ended_at, {"terminated": False, "signum": None, "expired": False} | reason
        case JobState.IN_DOUBT:
            yield "task-in-doubt", None, _said("in-doubt: the answer to the paid request was lost")


def _said(error: str) -> dict[str, str]:
    """Also in place of a result: Flower searches those, and its list has room for them."""
    return {"exception": error, "result": error}


def _result(job: ShownJob) -> str:
    """Where its files are."""
    more = len(job.uris) - _URIS
    return ", ".join([*map(shown_uri, job.uris[:_URIS]), *([f"{more} more"] if more > 0 else [])])


def _error(job: ShownJob) -> str:
    """Our code and what is said of it, first of all by the provider."""
    error = job.error or {}
    return shown(f"{error.get('code', 'unknown')}: {error.get('message') or 'no reason given'}")


def _runtime_seconds(job: ShownJob) -> float | None:
    """How long the provider took, by its own times; where it does not tell them, from its acceptance (of a text, which
    comes with the answer: from our POST) until it was found to be done. None where it never began.
    """
    if job.generation_seconds is not None:
        return job.generation_seconds
    began_at = job.sent_at if job.type == "text" else job.accepted_at
    ends = [at for at in (job.generated_at, job.ended_at) if at is not None]
    return max((min(ends) - began_at).total_seconds(), 0.0) if began_at is not None and ends else None
