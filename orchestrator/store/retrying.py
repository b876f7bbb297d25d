"""Choosing the failed jobs of a batch to run again, and putting them back at their price of now.

What was skipped because of them goes with them.
"""

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
    func,
    literal,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY

from orchestrator.base.errors import SpendRefused, UsageError
from orchestrator.base.states import JobError, JobState
from orchestrator.store.branches import skipped_below, stopped_above
from orchestrator.store.chains import retell_skipped, wait_for_needs
from orchestrator.store.doubtful import find_job
from orchestrator.store.payments import is_awaited
from orchestrator.store.spoilt import is_spoilt
from orchestrator.store.tables import assets, batches, jobs

_AGAIN_HINT = "it counts as charged; to pay for it once more: --again"
#: Why a job of this state cannot be retried.
_REFUSALS = {
    JobState.COMPLETED: "is completed; there is nothing to retry",
    JobState.CANCELLED: "was cancelled before it was sent; submit the manifest again",
}
_PUT_BACK = text(
    """
    UPDATE job
    SET state = 'pending', price = nullif(told.price, job.estimate), agreed = NULL, error = NULL,
        waits_for = NULL, submission_id = NULL, position = NULL, due_at = orchestrator_now(), ended_at = NULL,
        copy_failures = 0, copy_error = NULL, source_expires_at = NULL
    FROM unnest(:jobs, :prices) AS told (pk, price)
    WHERE job.pk = told.pk AND job.batch_id = :batch AND job.state IN ('failed', 'rejected', 'skipped')
    """
).bindparams(bindparam("jobs", type_=ARRAY(BigInteger())), bindparam("prices", type_=ARRAY(Numeric())))


def choose(
    connection: Connection, batch_id: str, *, job: str | None, error: str | None, again: bool
) -> tuple[Sequence[Any], int]:
    """The jobs (rows) to run again, and how many are left out because their payment was lost and `again` is not said.

    `job` and `error` narrow it to one job, to one error code. Raises UsageError where that leaves nothing, telling why;
    SpendRefused while the signed payment of one may settle.
    """
    require_not_cancelled(connection, batch_id)
    if job is not None:
        named = _choose_one(connection, batch_id, job, error=error, again=again)
        _require_no_open_payment(connection, batch_id, named)
        return named, 0
    narrowed = [_code() == error] if error is not None else []
    found = connection.execute(select(jobs).where(jobs.c.batch_id == batch_id, _has_failed(), *narrowed)).all()
    roots = [row for row in found if again or row.error["code"] != JobError.PAYMENT_LOST]
    elsewhere = error in (None, JobError.DEPENDENCY_FAILED)
    branch = skipped_below(connection, batch_id, [row.pk for row in roots], elsewhere=elsewhere)
    chosen = sorted([*roots, *_rows(connection, branch)], key=lambda row: row.ordinal)
    if not chosen:
        raise _nothing_to_retry(connection, batch_id, error, lost=len(found))
    _require_no_open_payment(connection, batch_id, chosen)
    return chosen, len(found) - len(roots)


def _choose_one(connection: Connection, batch_id: str, job: str, *, error: str | None, again: bool) -> Sequence[Any]:
    """The named job, with what was skipped because of it; for a skipped one, with what it was skipped for."""
    named = find_job(connection, batch_id, job)
    _require_retryable(named, batch_id, error=error, again=again)
    if named.state != JobState.SKIPPED:
        return [named, *_rows(connection, skipped_below(connection, batch_id, [named.pk]))]
    above = stopped_above(connection, named.pk)
    for row in above:
        if row.state == JobState.COMPLETED:
            raise UsageError(
                f"job {job} of {batch_id} was skipped: the result of {row.name} was rejected",
                hint=f"for another result: orchestrator submit MANIFEST --again --job {row.name}",
            )
        _require_retryable(row, batch_id, error=None, again=again)
    return [*above, named]


def _require_no_open_payment(connection: Connection, batch_id: str, chosen: Sequence[Any]) -> None:
    """Lost is what nothing more is known of; a payment that may settle would be one of two."""
    for row in chosen:
        if row.submission_id is not None and is_awaited(connection, row.submission_id):
            raise SpendRefused(
                f"the signed payment of job {row.name} of {batch_id} may still settle, or has",
                hint=f"its chain tells once the payment is too old: orchestrator resume {batch_id}",
            )


def _rows(connection: Connection, pks: Sequence[int]) -> Sequence[Any]:
    named = jobs.c.pk == any_(literal(list(pks), ARRAY(BigInteger())))
    return connection.execute(select(jobs).where(named).order_by(jobs.c.ordinal)).all()


def require_not_cancelled(connection: Connection, batch_id: str) -> None:
    """Raises UsageError for a batch that a person has cancelled: nothing of it is sent any more."""
    cancelled = select(batches.c.id).where(batches.c.id == batch_id, batches.c.cancelled_at.is_not(None))
    if connection.execute(cancelled).first() is not None:
        raise UsageError(f"{batch_id} was cancelled; nothing of it is sent any more", hint="submit the manifest again")


def _code() -> Any:
    return jobs.c.error["code"].astext


def _has_failed() -> ColumnElement[bool]:
    """Failed or refused itself, and not for want of something that its row or the job it needs can never give."""
    has_failed = jobs.c.state.in_([JobState.FAILED, JobState.REJECTED])
    return and_(has_failed, _code() != JobError.DEPENDENCY_FAILED, ~is_spoilt())


def _require_retryable(found: Any, batch_id: str, *, error: str | None, again: bool) -> None:
    who = f"job {found.name} of {batch_id}"
    code = (found.error or {}).get("code")
    if found.state == JobState.IN_DOUBT:
        raise UsageError(
            f"{who} is in doubt: it may have been paid for; settle it first",
            hint=f"orchestrator resolve {batch_id} --job {found.name} --as charged|not-charged",
        )
    if found.state == JobState.FAILED and code == JobError.DEPENDENCY_FAILED:
        raise UsageError(
            f"{who} cannot run: {found.error['message']}",
            hint="buy what it needs again: orchestrator submit MANIFEST --again --job ID",
        )
    if found.state == JobState.SKIPPED and code != JobError.DEPENDENCY_FAILED:
        has_failed_before = code != JobError.UNKNOWN
        raise UsageError(
            f"{who} was skipped: {found.error['message']}",
            hint=f"to send it all the same: orchestrator submit MANIFEST --again --job {found.name}"
            if has_failed_before
            else None,
        )
    if found.state not in (JobState.FAILED, JobState.REJECTED) and code != JobError.DEPENDENCY_FAILED:
        words = _REFUSALS.get(JobState(found.state), f"is {found.state}: only what has failed is run again")
        raise UsageError(f"{who} {words}")
    if not found.item:
        raise UsageError(f"{who} has nothing to send: {found.error['message']}", hint="mend its row, and submit again")
    if error is not None and code != error:
        raise UsageError(f"{who} has the error {code}, not {error}")
    if code == JobError.PAYMENT_LOST and not again:
        raise UsageError(f"{who} is one whose payment was lost", hint=_AGAIN_HINT)


def _nothing_to_retry(connection: Connection, batch_id: str, error: str | None, *, lost: int) -> UsageError:
    if lost:
        return UsageError(f"all that failed in {batch_id} are jobs whose payment was lost ({lost})", hint=_AGAIN_HINT)
    with_error = f" with {error}" if error is not None else ""
    spoilt = select(jobs.c.pk).where(jobs.c.batch_id == batch_id, is_spoilt()).limit(1)
    if error is None and connection.execute(spoilt).first() is not None:
        message = f"nothing to retry: what failed in {batch_id} was left out for its row"
        return UsageError(message, hint="mend the rows, and submit the manifest again")
    return UsageError(f"nothing to retry: no job of {batch_id} has failed{with_error}")


def count_stored_files(connection: Connection, job_pks: Sequence[int]) -> int:
    """How many originals of failed jobs (by row) are stored, and bought again with those that are not."""
    is_stored = and_(assets.c.role == "original", assets.c.stored_at.is_not(None))
    query = select(func.count()).where(assets.c.job_pk == any_(literal(list(job_pks), ARRAY(BigInteger()))), is_stored)
    return int(connection.execute(query).scalar_one())


def put_back(connection: Connection, batch_id: str, prices: Mapping[int, Decimal]) -> None:
    """Make failed jobs (by row) `pending` at these prices in credits, or wait for those that they need.

    What they spent stays spent.
    Raises UsageError, for the caller to roll back, where one of them is not failed any more.
    """
    pks = literal(list(prices), ARRAY(BigInteger()))
    connection.execute(delete(assets).where(assets.c.job_pk == any_(pks)))  # not all of these files could be stored
    parameters = {"batch": batch_id, "jobs": list(prices), "prices": list(prices.values())}
    if connection.execute(_PUT_BACK, parameters).rowcount != len(prices):
        raise UsageError(f"the jobs of {batch_id} have changed meanwhile; nothing was sent", hint="look and try again")
    wait_for_needs(connection, prices)
    retell_skipped(connection, prices)
