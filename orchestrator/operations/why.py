"""What the jobs of a batch wait for, and who moves them next (`status --why`). Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from orchestrator.base.clock import rfc3339
from orchestrator.base.states import BatchState, HoldCode, JobState, WaitsFor
from orchestrator.store.pacing import WHOLE_ACCOUNT
from orchestrator.store.standing import HoldRow, Oldest, Standing
from orchestrator.store.unstored import TOLD_FAILURES


class Mover(StrEnum):
    """Who moves a job next."""

    WORKER = "worker"
    PROVIDER = "provider"
    PERSON = "person"
    #: Another job of the batch, once it has ended.
    JOB = "job"
    #: No worker is alive.
    NOBODY = "nobody"


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a job is where it is; `until` is when that changes by itself, and `command` what a person can do."""

    code: str
    waits_for: str
    mover: Mover
    until: datetime | None = None
    command: str | None = None


def why_documents(standing: Standing) -> list[dict[str, Any]]:
    """The `why` of a batch: of each state that jobs can leave, the oldest job and its reason."""
    return [_document(oldest, explain(standing, oldest)) for oldest in standing.oldest]


def _document(oldest: Oldest, reason: Reason) -> dict[str, Any]:
    return {
        "state": oldest.state.value,
        "jobs": oldest.count,
        "job": oldest.job,
        "model": oldest.model,
        "since": rfc3339(oldest.since),
        "code": reason.code,
        "waits_for": reason.waits_for,
        "mover": reason.mover.value,
        "until": rfc3339(reason.until),
        "command": reason.command,
    }


def explain(standing: Standing, oldest: Oldest) -> Reason:
    """The first thing that is in the way of a job, in the order in which the engine looks."""
    match oldest.state:
        case JobState.WAITING:
            return _of_waiting(standing, oldest)
        case JobState.IN_DOUBT:
            return _of_doubt(standing, oldest)
        case JobState.PENDING:
            return _of_pending(standing, oldest)
        case _:
            return _of_paid(standing, oldest)


def _of_waiting(standing: Standing, oldest: Oldest) -> Reason:
    if standing.is_cancelled:
        return _cancelled(standing)
    needs = ", ".join(f"{name} ({state.replace('_', ' ')})" for name, state in oldest.needs)
    match oldest.waits_for:
        case WaitsFor.GATE:
            if hold := _hold(standing, HoldCode.GATE):
                return _held(hold)
            return Reason("gate", f"a person has to look at {needs}", Mover.PERSON, command=_approve(standing))
        case WaitsFor.CANARY:
            if hold := _hold(standing, HoldCode.CANARY):
                return _held(hold)
            return Reason("canary", "the canaries have to end, and then to be approved", Mover.JOB)
        case _:
            return Reason("dependency", f"it needs {needs or 'jobs that have just ended'}", Mover.JOB)


def _of_pending(standing: Standing, oldest: Oldest) -> Reason:
    if standing.is_cancelled:
        return _cancelled(standing)
    if standing.state is BatchState.PAUSED:
        resume = f"orchestrator resume {standing.batch_id}"
        return Reason("paused", "the batch is paused", Mover.PERSON, command=resume)
    if blocking := next((hold for hold in standing.holds if hold.blocking), None):
        return _held(blocking)
    if standing.workers == 0:
        return _nobody(standing)
    if standing.senders == 0:
        return _nobody(standing, "one that works for its account, with its keys: of those that are alive none does")
    if standing.breaker_opened_at is not None:
        words = f"the provider is taken for down since {_clock(standing.breaker_opened_at)}; a worker looks again"
        return Reason("breaker", words, Mover.WORKER, until=standing.breaker_probe_at)
    return _of_sendable(standing, oldest)


def _of_sendable(standing: Standing, oldest: Oldest) -> Reason:
    for model, whose in ((WHOLE_ACCOUNT, "the whole account"), (oldest.model, oldest.model)):
        if model in standing.paused_until:
            words = f"the provider wants {whose} to wait"
            return Reason("pacing", words, Mover.WORKER, until=standing.paused_until[model])
    if oldest.due_at is not None and oldest.due_at > standing.now:
        words = "another try" + (f", after: {oldest.trouble}" if oldest.trouble else "")
        return Reason("retry", words, Mover.WORKER, until=oldest.due_at)
    wait = standing.wait_seconds.get(oldest.model, 0.0)
    if wait is None:
        words = "a place at the provider: as many jobs are in flight as may be at once"
        return Reason("in-flight", words, Mover.PROVIDER)
    if wait > 0:
        words = "its turn at the rate that the provider takes"
        return Reason("rate", words, Mover.WORKER, until=standing.now + timedelta(seconds=wait))
    return Reason("turn", "its turn: a worker sends it next", Mover.WORKER)


def _of_paid(standing: Standing, oldest: Oldest) -> Reason:
    """Submitting, generating or copying."""
    stops = {JobState.GENERATING: HoldCode.PROVIDER_REFUSING, JobState.COPYING: HoldCode.DESTINATION_FAILING}
    if oldest.state in stops and (hold := _hold(standing, stops[oldest.state])):
        return _held(hold)
    if oldest.copy_failures >= TOLD_FAILURES and standing.workers:
        return _of_unstored(standing, oldest)
    if oldest.worker_lives:
        return Reason("at-work", f"the worker that is {_WORK[oldest.state]}", Mover.WORKER)
    if standing.workers == 0:
        return _nobody(standing)
    if oldest.worker_lives is False:
        return Reason("rescue", "its worker is gone; another one takes it up within seconds", Mover.WORKER)
    if oldest.state is JobState.COPYING:
        words = "a worker stores its files" + (f"; the last try met: {oldest.trouble}" if oldest.trouble else "")
        return Reason("copy", words, Mover.WORKER, until=_later(standing, oldest))
    if oldest.state is JobState.GENERATING:
        return _of_generating(standing, oldest)
    return Reason("at-work", "its request is about to be sent", Mover.WORKER)


def _of_unstored(standing: Standing, oldest: Oldest) -> Reason:
    words = f"its files to be stored: {oldest.copy_failures} tries failed, the last one: {oldest.trouble}"
    command = f"orchestrator resume {standing.batch_id}"
    mover = Mover.PERSON if oldest.is_fetched else Mover.WORKER
    return Reason("not-stored", words, mover, until=_later(standing, oldest), command=command)


_WORK = {
    JobState.SUBMITTING: "sending it",
    JobState.GENERATING: "asking for it",
    JobState.COPYING: "storing its files",
}


def _of_generating(standing: Standing, oldest: Oldest) -> Reason:
    paused = standing.paused_until.get(WHOLE_ACCOUNT)
    until = max(filter(None, (paused, _later(standing, oldest))), default=None)
    if oldest.not_found_since is not None:
        words = f"the provider has known nothing of it since {_clock(oldest.not_found_since)}; it is asked again"
    elif oldest.trouble:
        words = f"the provider; the last poll met: {oldest.trouble}"
    else:
        words = "the provider makes it; it is asked again"
    return Reason("poll", words, Mover.PROVIDER, until=until)


def _of_doubt(standing: Standing, oldest: Oldest) -> Reason:
    hold = _hold(standing, HoldCode.IN_DOUBT)
    command = hold.command if hold else f"orchestrator resolve {standing.batch_id} --job {oldest.job}"
    if oldest.is_awaited and standing.workers:
        words = "its signed payment is sent again, or looked up on its chain"
        return Reason("payment", words, Mover.WORKER, command=command)
    told = f"; {standing.doubt_outlook}" if standing.doubt_outlook else ""
    return Reason("in-doubt", f"whether it was charged{told}", Mover.PERSON, command=command)


def _later(standing: Standing, oldest: Oldest) -> datetime | None:
    return oldest.due_at if oldest.due_at is not None and oldest.due_at > standing.now else None


def _hold(standing: Standing, code: HoldCode) -> HoldRow | None:
    return next((hold for hold in standing.holds if hold.code is code), None)


def _held(hold: HoldRow) -> Reason:
    return Reason(hold.code.value, hold.message, Mover.PERSON, command=hold.command)


def _cancelled(standing: Standing) -> Reason:
    mover = Mover.WORKER if standing.workers else Mover.NOBODY
    return Reason("cancelled", "the batch is cancelled: it is taken back", mover)


def _nobody(standing: Standing, whom: str = "none is alive") -> Reason:
    by = f"resume {standing.batch_id}" if standing.sandbox else "worker"
    return Reason("no-worker", f"a worker: {whom}", Mover.NOBODY, command=f"orchestrator {by}")


def _approve(standing: Standing) -> str:
    return f"orchestrator approve {standing.batch_id}"


def _clock(at: datetime) -> str:
    return f"{at:%H:%M:%S} UTC"
