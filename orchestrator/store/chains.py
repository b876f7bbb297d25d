"""Chains: jobs go once all results that they need are stored, and are skipped where one of them will never be.

A job that others need keeps `dependents_due` until its end was passed on to them. So what this costs depends on the
jobs that ended since, not on those that wait, and a batch without chains pays nothing.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Connection, and_, bindparam, null, select, text, update
from sqlalchemy.dialects.postgresql import ARRAY

from orchestrator.base.states import ENDED_BATCHES, ENDED_JOBS, Gate, JobError, JobState, WaitsFor
from orchestrator.store.accounts import Scope
from orchestrator.store.database import NOW
from orchestrator.store.holds import has_job
from orchestrator.store.references import Reference, stored_result, with_results
from orchestrator.store.tables import batches, job_needs, jobs

#: So many ends are passed on in one transaction, which holds the account's lock, and to so many of those that are to
#: be skipped, or to go.
_ENDS_AT_ONCE = 200
_DEPENDENTS_AT_ONCE = 500
_PKS = ARRAY(BigInteger())


def has_ends_to_pass_on() -> ColumnElement[bool]:
    """Whether a job of the batch has ended and those that need it were not told yet."""
    return has_job(_is_to_pass_on())


def _is_to_pass_on() -> ColumnElement[bool]:
    """The condition of the index of such jobs."""
    return and_(jobs.c.dependents_due, jobs.c.state.in_(ENDED_JOBS))


def batches_to_move(connection: Connection, scope: Scope) -> list[str]:
    """The open batches in scope with ends to pass on."""
    found = select(batches.c.id).where(
        scope.covers(batches.c.account_pk, batches.c.id), batches.c.state.not_in(ENDED_BATCHES), has_ends_to_pass_on()
    )
    return [str(batch_id) for batch_id in connection.execute(found.order_by(batches.c.id)).scalars()]


def pass_on_ends(connection: Connection, batch_id: str) -> int:
    """Tell some of the ends of a batch's jobs to some that need them; returns how many ends, 0 once all are told.

    Call it under the batch's lock (`lock_batch`). A job that is skipped has an end to pass on itself.
    """
    due = select(jobs.c.pk, jobs.c.state).where(jobs.c.batch_id == batch_id, _is_to_pass_on()).order_by(jobs.c.pk)
    ended = connection.execute(due.limit(_ENDS_AT_ONCE).with_for_update(key_share=True)).all()
    completed = [row.pk for row in ended if row.state == JobState.COMPLETED]
    others = [row.pk for row in ended if row.state != JobState.COMPLETED]
    told = []
    if others and _skip_dependents(connection, others) < _DEPENDENTS_AT_ONCE:
        told += others
    if completed and _move_dependents(connection, completed) < _DEPENDENTS_AT_ONCE:
        told += completed
    if told:
        connection.execute(update(jobs).where(jobs.c.pk.in_(told)).values(dependents_due=False))
    return len(ended)


def pass_on_all_ends(connection: Connection, batch_id: str) -> None:
    """`pass_on_ends` until all is told, for a person who has just changed one job."""
    while pass_on_ends(connection, batch_id):
        continue


_SKIP = text(
    """
    UPDATE job SET state = 'skipped', waits_for = NULL, ended_at = orchestrator_now(), error = jsonb_build_object(
        'code', CAST(:code AS text), 'charged', false, 'provider', NULL,
        'message', 'it needs ' || cause.name || ', which ' || CASE cause.state
            WHEN 'cancelled' THEN 'was cancelled' WHEN 'skipped' THEN 'was skipped'
            ELSE 'is ' || cause.state || coalesce(': ' || (cause.error ->> 'message'), '') END
    )
    FROM (
        SELECT DISTINCT ON (job_need.job_pk) job_need.job_pk, needed.name, needed.state, needed.error
        FROM job_need
        JOIN job AS needed ON needed.pk = job_need.needed_pk
        JOIN job AS waiting ON waiting.pk = job_need.job_pk AND waiting.state = 'waiting'
        WHERE job_need.needed_pk = ANY(:ended)
        ORDER BY job_need.job_pk, needed.ordinal
        LIMIT :at_most
    ) AS cause
    WHERE job.pk = cause.job_pk AND job.state = 'waiting'
    """
).bindparams(bindparam("ended", type_=_PKS))
#: Of what was skipped for jobs that now run again: what else keeps it from running, or else that it was left out.
_RETELL = text(
    """
    UPDATE job SET error = job.error || jsonb_build_object('message', 'it needs ' || cause.name || CASE
        WHEN cause.runs_again THEN ', and was left out when ' || cause.name || ' was run again'
        WHEN cause.state = 'completed' THEN ', whose result was rejected'
        WHEN cause.state IN ('cancelled', 'skipped') THEN ', which was ' || cause.state
        ELSE ', which is ' || cause.state || coalesce(': ' || (cause.error ->> 'message'), '') END)
    FROM (
        SELECT DISTINCT ON (job_need.job_pk) job_need.job_pk, needed.name, needed.state, needed.error,
               needed.pk = ANY(:jobs) AS runs_again
        FROM job_need JOIN job AS needed ON needed.pk = job_need.needed_pk
        WHERE job_need.job_pk IN (SELECT job_pk FROM job_need WHERE needed_pk = ANY(:jobs))
          AND (needed.pk = ANY(:jobs) OR needed.state IN ('failed', 'rejected', 'skipped', 'cancelled')
               OR needed.gate = 'rejected')
        ORDER BY job_need.job_pk, needed.pk = ANY(:jobs), needed.ordinal
    ) AS cause
    WHERE job.pk = cause.job_pk AND job.state = 'skipped' AND job.error ->> 'code' = :code
    """
).bindparams(bindparam("jobs", type_=_PKS))


def _skip_dependents(connection: Connection, ended: list[int]) -> int:
    """Skip some of those that wait; returns how many."""
    parameters = {"ended": ended, "code": JobError.DEPENDENCY_FAILED, "at_most": _DEPENDENTS_AT_ONCE}
    return connection.execute(_SKIP, parameters).rowcount


def retell_skipped(connection: Connection, job_pks: Iterable[int]) -> None:
    """Say anew why those stay skipped that need these jobs, which are run again without them."""
    connection.execute(_RETELL, {"jobs": list(job_pks), "code": JobError.DEPENDENCY_FAILED})


def skip_dependents(connection: Connection, needed_pk: int, why: str) -> None:
    """Skip what waits for the result of a completed job, which nobody wants to go on with."""
    dependents = select(job_needs.c.job_pk).where(job_needs.c.needed_pk == needed_pk)
    connection.execute(
        update(jobs)
        .where(jobs.c.pk.in_(dependents), jobs.c.state == JobState.WAITING)
        .values(state=JobState.SKIPPED, waits_for=null(), ended_at=NOW, error=_dependency_failed(why))
    )


#: The dependents of some completed jobs whose needs are all completed by now.
_READY = text(
    """
    SELECT job.pk, job.item FROM job
    WHERE job.pk IN (SELECT job_pk FROM job_need WHERE needed_pk = ANY(:ended))
      AND job.state = 'waiting' AND job.waits_for = 'dependency'
      AND NOT EXISTS (
          SELECT FROM job_need JOIN job AS needed ON needed.pk = job_need.needed_pk
          WHERE job_need.job_pk = job.pk AND needed.state <> 'completed'
      )
    ORDER BY job.pk
    LIMIT :at_most
    """
).bindparams(bindparam("ended", type_=_PKS))
_RESULTS = text(
    """
    SELECT DISTINCT ON (job_need.job_pk, needed.ordinal, job_need.role)
           job_need.job_pk, job_need.role, needed.name, needed.gate, asset.sha256, asset.mime_type, asset.uri
    FROM job_need JOIN job AS needed ON needed.pk = job_need.needed_pk
    LEFT JOIN asset ON asset.job_pk = needed.pk AND asset.role = job_need.role AND asset.stored_at IS NOT NULL
    WHERE job_need.job_pk = ANY(:waiting)
    ORDER BY job_need.job_pk, needed.ordinal, job_need.role, asset.position
    """
).bindparams(bindparam("waiting", type_=_PKS))


_MOVE = text(
    """
    UPDATE job SET state = moved.state, waits_for = moved.waits_for, item = moved.item, error = moved.error,
        due_at = orchestrator_now(), ended_at = CASE WHEN moved.error IS NOT NULL THEN orchestrator_now() END
    FROM jsonb_to_recordset(CAST(:moved AS jsonb))
        AS moved (pk bigint, state text, waits_for text, item jsonb, error jsonb)
    WHERE job.pk = moved.pk AND job.state = 'waiting' AND job.waits_for = 'dependency'
    """
)


def _move_dependents(connection: Connection, completed: list[int]) -> int:
    """Give some of those whose needs are all stored their results, to go as far as a gate; returns how many."""
    ready = connection.execute(_READY, {"ended": completed, "at_most": _DEPENDENTS_AT_ONCE}).all()
    if not ready:
        return 0
    found: dict[int, list[Any]] = {row.pk: [] for row in ready}
    for result in connection.execute(_RESULTS, {"waiting": list(found)}):
        found[result.job_pk].append(result)
    moved = [{"pk": row.pk} | _moved(row.item, found[row.pk]) for row in ready]
    connection.execute(_MOVE, {"moved": json.dumps(moved)})
    return len(ready)


def _moved(item: dict[str, Any], needed: Sequence[Any]) -> dict[str, Any]:
    """What becomes of a job when all that it needs is completed."""
    for result in needed:
        if result.gate == Gate.REJECTED:
            return _ended(item, JobState.SKIPPED, f"it needs {result.name}, whose result was rejected")
        if result.uri is None:
            what = "without a final frame" if result.role == "final_frame" else "without a file"
            return _ended(item, JobState.FAILED, f"it needs {result.name}, which came {what}")
    results: dict[Reference, dict[str, Any]] = {
        (result.name, result.role): stored_result(sha256=result.sha256, mime_type=result.mime_type, uri=result.uri)
        for result in needed
    }
    is_gated = any(result.gate == Gate.MANUAL for result in needed)
    return {
        "state": JobState.WAITING if is_gated else JobState.PENDING,
        "waits_for": WaitsFor.GATE if is_gated else None,
        "item": with_results(item, results),
        "error": None,
    }


def _ended(item: dict[str, Any], state: JobState, why: str) -> dict[str, Any]:
    return {"state": state, "waits_for": None, "item": item, "error": _dependency_failed(why)}


def _dependency_failed(why: str) -> dict[str, Any]:
    return {"code": JobError.DEPENDENCY_FAILED, "message": why, "charged": False, "provider": None}


_WAIT_FOR_NEEDS = text(
    """
    UPDATE job SET state = 'waiting', waits_for = 'dependency', ended_at = NULL, error = NULL
    WHERE pk = ANY(:jobs) AND state IN ('waiting', 'pending', 'skipped')
      AND EXISTS (SELECT FROM job_need WHERE job_pk = job.pk)
    """
).bindparams(bindparam("jobs", type_=_PKS))
_ASK_AGAIN = text(
    """
    UPDATE job SET dependents_due = true
    WHERE NOT dependents_due AND (
        pk IN (SELECT needed_pk FROM job_need WHERE job_pk = ANY(:jobs))
        OR pk = ANY(:jobs) AND EXISTS (SELECT FROM job_need WHERE needed_pk = job.pk)
    )
    """
).bindparams(bindparam("jobs", type_=_PKS))


def wait_for_needs(connection: Connection, job_pks: Iterable[int]) -> None:
    """Have those of these unsent jobs that need others wait for them, and be told once more what became of them.

    Who needs these jobs themselves is told of their next end again.
    """
    parameters = {"jobs": list(job_pks)}
    connection.execute(_WAIT_FOR_NEEDS, parameters)
    connection.execute(_ASK_AGAIN, parameters)
