"""Choosing the failed jobs of a batch to run again, and putting them back to `pending` at their price of now."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Numeric,
    and_,
    any_,
    bindparam,
    delete,
    literal,
    or_,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY

from orchestrator.base.errors import UsageError
from orchestrator.base.states import JobError, JobState
from orchestrator.store.doubtful import find_job
from orchestrator.store.tables import assets, batches, jobs

_AGAIN_HINT = "it counts as charged; to pay for it once more: --again"
#: Why a job of this state cannot be retried.
_REFUSALS = {
    JobState.COMPLETED: "is completed; there is nothing to retry",
    JobState.CANCELLED: "was cancelled before it was sent; submit the manifest again",
    JobState.SKIPPED: "was not worth sending, and nothing of it failed",
}
_PUT_BACK = text(
    """
    UPDATE job
    SET state = 'pending', price = nullif(told.price, job.estimate), error = NULL, waits_for = NULL,
        submission_id = NULL, position = NULL, due_at = orchestrator_now(), ended_at = NULL,
        copy_failures = 0, copy_error = NULL, source_expires_at = NULL
    FROM unnest(:jobs, :prices) AS told (pk, price)
    WHERE job.pk = told.pk AND job.batch_id = :batch AND job.state IN ('failed', 'rejected', 'skipped')
    """
).bindparams(bindparam("jobs", type_=ARRAY(BigInteger())), bindparam("prices", type_=ARRAY(Numeric())))


def choose(
    connection: Connection, batch_id: str, *, job: str | None, error: str | None, again: bool
) -> tuple[Sequence[Any], int]:
    """The jobs (rows) to run again, and how many are left out because their payment was lost and `again` is not said.

    `job` and `error` narrow it to one job, to one error code. Raises UsageError where that leaves nothing, telling why.
    """
    require_not_cancelled(connection, batch_id)
    if job is not None:
        _require_retryable(find_job(connection, batch_id, job), batch_id, error=error, again=again)
    narrowed = [jobs.c.name == job] if job is not None else []
    narrowed += [_code() == error] if error is not None else []
    found = connection.execute(
        select(jobs).where(jobs.c.batch_id == batch_id, _has_failed(), *narrowed).order_by(jobs.c.ordinal)
    ).all()
    chosen = [row for row in found if again or row.error["code"] != JobError.PAYMENT_LOST]
    if not chosen:
        raise _nothing_to_retry(batch_id, error, lost=len(found))
    return chosen, len(found) - len(chosen)


def require_not_cancelled(connection: Connection, batch_id: str) -> None:
    """Raises UsageError for a batch that a person has cancelled: nothing of it is sent any more."""
    cancelled = select(batches.c.id).where(batches.c.id == batch_id, batches.c.cancelled_at.is_not(None))
    if connection.execute(cancelled).first() is not None:
        raise UsageError(f"{batch_id} was cancelled; nothing of it is sent any more", hint="submit the manifest again")


def _code() -> Any:
    return jobs.c.error["code"].astext


def _has_failed() -> ColumnElement[bool]:
    """Failed or refused itself, or skipped because of another that did."""
    by_another = and_(jobs.c.state == JobState.SKIPPED, _code() == JobError.DEPENDENCY_FAILED)
    return or_(jobs.c.state.in_([JobState.FAILED, JobState.REJECTED]), by_another)


def _require_retryable(found: Any, batch_id: str, *, error: str | None, again: bool) -> None:
    who = f"job {found.name} of {batch_id}"
    code = (found.error or {}).get("code")
    if found.state == JobState.IN_DOUBT:
        raise UsageError(
            f"{who} is in doubt: it may have been paid for; settle it first",
            hint=f"orchestrator resolve {batch_id} --job {found.name} --as charged|not-charged",
        )
    if found.state not in (JobState.FAILED, JobState.REJECTED) and code != JobError.DEPENDENCY_FAILED:
        words = _REFUSALS.get(JobState(found.state), f"is {found.state}: only what has failed is run again")
        raise UsageError(f"{who} {words}")
    if error is not None and code != error:
        raise UsageError(f"{who} has the error {code}, not {error}")
    if code == JobError.PAYMENT_LOST and not again:
        raise UsageError(f"{who} is one whose payment was lost", hint=_AGAIN_HINT)


def _nothing_to_retry(batch_id: str, error: str | None, *, lost: int) -> UsageError:
    if lost:
        return UsageError(f"all that failed in {batch_id} are jobs whose payment was lost ({lost})", hint=_AGAIN_HINT)
    with_error = f" with {error}" if error is not None else ""
    return UsageError(f"nothing to retry: no job of {batch_id} has failed{with_error}")


def put_back(connection: Connection, batch_id: str, prices: Mapping[int, Decimal]) -> None:
    """Make failed jobs (by row) `pending` at these prices in credits. What they spent stays spent.

    Raises UsageError, for the caller to roll back, where one of them is not failed any more.
    """
    pks = literal(list(prices), ARRAY(BigInteger()))
    connection.execute(delete(assets).where(assets.c.job_pk == any_(pks)))  # sources that did not give all they should
    parameters = {"batch": batch_id, "jobs": list(prices), "prices": list(prices.values())}
    if connection.execute(_PUT_BACK, parameters).rowcount != len(prices):
        raise UsageError(f"the jobs of {batch_id} have changed meanwhile; nothing was sent", hint="look and try again")
