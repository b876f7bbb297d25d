"""How a job of a plan stands to what its collection has, and why, in words."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from orchestrator.base.states import Gate, JobError, JobState
from orchestrator.planner.result import PlannedJob


class Standing(StrEnum):
    """How a job of the plan stands to its collection."""

    #: The collection has no job of this name, or only planned the same one: it was never sent.
    NEW = "new"
    #: The job of this name was another one: its `fields` differ.
    CHANGED = "changed"
    #: Its result is there, and is not bought again.
    REUSED = "reused"
    #: It was made, and its file is gone or is another one now: it is bought again.
    ASSET_MISSING = "asset-missing"
    #: The same job was tried and gave nothing, for a reason that may pass: it is bought again.
    RETRIED = "retried"
    #: The same job was refused or moderated, or was charged and gave nothing: it is not sent again until it changes.
    FAILED_BEFORE = "failed-before"
    #: The same job may have been paid for already: it is not sent again until that is settled.
    IN_DOUBT = "in-doubt"
    #: The same job is paid for, in a batch that has not stored its result yet: it is not sent again.
    UNDER_WAY = "under-way"
    #: It needs a job that is left out, or whose result someone has rejected: it is left out, too.
    DEPENDENCY_FAILED = "dependency-failed"
    #: It is there, and is bought again because someone said so.
    AGAIN = "again"


#: What is not sent although there is no result of it.
LEFT_OUT = (Standing.FAILED_BEFORE, Standing.IN_DOUBT, Standing.UNDER_WAY, Standing.DEPENDENCY_FAILED)

#: What became of a job that was planned, and not bought.
_NEVER_SENT = {
    JobState.WAITING: "not bought yet",
    JobState.PENDING: "not bought yet",
    JobState.CANCELLED: "was cancelled",
    JobState.SKIPPED: "was skipped",
}


@dataclass(frozen=True, slots=True)
class PastJob:
    """A job of an earlier batch. `error` is what became of it where it failed; `pk` grows with time.

    `origin_pk` is the job that was bought, of which it may be a copy; `attempts` are the POSTs that it took so far. Its
    files are in `destination`; `made_in` is the batch that bought them. `item` is there where it may have changed.
    """

    pk: int
    batch_id: str
    name: str
    type: str
    model: str
    state: JobState
    fingerprint: str | None
    destination: str
    made_in: str
    origin_pk: int
    attempts: int = 0
    error: Mapping[str, Any] | None = None
    item: Mapping[str, Any] | None = None

    @property
    def was_never_sent(self) -> bool:
        """Whether its batch has not bought it yet, or left it at that."""
        return self.state in _NEVER_SENT

    @property
    def failed_for_good(self) -> bool:
        """Whether sending it unchanged once more would end the same, or pay for the same once more."""
        if self.was_charged:
            return True
        code = (self.error or {}).get("code")
        if self.state is JobState.REJECTED:
            return code in (JobError.REJECTED_INPUT, JobError.MODERATION)
        return self.state is JobState.FAILED and code == JobError.MODERATION

    @property
    def was_charged(self) -> bool:
        """Whether it was paid for and gave nothing."""
        return bool((self.error or {}).get("charged"))


@dataclass(frozen=True, slots=True)
class History:
    """What came of earlier jobs, by fingerprint (the newest first), and the last job of each name that it has now.

    Of several results, one in `destination` is preferred. `gates` are the answers that results (by `origin_pk`) were
    given, and `rejected` those that a person rejected when the results were looked at.
    """

    by_fingerprint: Mapping[str, tuple[PastJob, ...]] = field(default_factory=dict)
    by_name: Mapping[str, PastJob] = field(default_factory=dict)
    destination: str = ""
    gates: Mapping[int, Gate] = field(default_factory=dict)
    rejected: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Verdict:
    """How one job stands. `source` is the past job that says so, `fields` are those that changed.

    `cause` is the needed job that decides, in words, where it is one.
    """

    job: PlannedJob
    standing: Standing
    source: PastJob | None = None
    fields: tuple[str, ...] = ()
    cause: str | None = None

    @property
    def is_bought(self) -> bool:
        return self.standing is not Standing.REUSED and self.standing not in LEFT_OUT

    def document(self) -> dict[str, Any]:
        """One entry of `plan --compare`."""
        return {
            "job": self.job.id,
            "is": self.standing,
            "fields": list(self.fields),
            "batch": None if self.source is None else self.source.made_in,
            "reason": self.reason(),
        }

    def reason(self) -> str:
        """Why it stands so, in words."""
        if self.cause is not None:
            return self.cause
        before = self.source
        if before is None:
            return "not in the collection yet"
        code = (before.error or {}).get("code", before.state)
        match self.standing:
            case Standing.NEW:
                return f"{_NEVER_SENT[before.state]} in {before.batch_id}"
            case Standing.REUSED:
                return f"made in {before.made_in}"
            case Standing.CHANGED:
                return f"changed since {before.batch_id}: {', '.join(self.fields) or 'the job it is made from'}"
            case Standing.ASSET_MISSING:
                return f"made in {before.made_in}, and its file is gone or was changed"
            case Standing.RETRIED:
                return f"gave nothing in {before.batch_id} ({code})"
            case Standing.FAILED_BEFORE if before.was_charged:
                again = f"to pay for it again: --again --job {self.job.id}"
                return f"was charged and gave no file in {before.batch_id} ({code}); {again}"
            case Standing.FAILED_BEFORE:
                return f"failed in {before.batch_id} ({code}) and has not changed"
            case Standing.IN_DOUBT:
                return f"in doubt in {before.batch_id}: it may have been paid for"
            case Standing.UNDER_WAY:
                return f"paid for in {before.batch_id}, which has not stored it yet"
            case _:
                return f"bought again, although {before.batch_id} has it"
