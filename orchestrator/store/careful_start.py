"""A careful start: the rest of a batch waits until its canaries were looked at, and it stops when too much fails."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Connection, and_, any_, func, literal, null, or_, select, update
from sqlalchemy.dialects.postgresql import ARRAY

from orchestrator.base.money import canonical, in_words
from orchestrator.base.payments import Unit
from orchestrator.base.states import BatchState, HoldCode, JobState, WaitsFor
from orchestrator.store.chains import has_ends_to_pass_on, wait_for_needs
from orchestrator.store.database import NOW
from orchestrator.store.holds import has_hold, has_job, lift_holds, put_hold
from orchestrator.store.spoilt import is_spoilt
from orchestrator.store.tables import batches, jobs
from orchestrator.store.units import batch_unit

#: Failures are judged against at least so many jobs (or all, where there are fewer): one of two is no bad sign yet.
FEWEST_JUDGED = 10
_UNDER_WAY = (JobState.PENDING, JobState.SUBMITTING, JobState.GENERATING, JobState.COPYING)
_FAILED = (JobState.FAILED, JobState.REJECTED)
_PRICE = func.coalesce(jobs.c.price, jobs.c.estimate)


def waits_for_canary() -> ColumnElement[bool]:
    """Whether a job waits until the canaries of its batch are approved."""
    return and_(jobs.c.state == JobState.WAITING, jobs.c.waits_for == WaitsFor.CANARY)


def note_canary(connection: Connection, batch_id: str) -> None:
    """Once no canary is under way, or will be as soon as it is told of an end or its gate is opened, say what they cost
    and that the rest waits for a person."""
    is_at_gate = and_(jobs.c.state == JobState.WAITING, jobs.c.waits_for == WaitsFor.GATE)
    is_under_way = or_(has_job(or_(jobs.c.state.in_(_UNDER_WAY), is_at_gate)), has_ends_to_pass_on())
    only_waits = and_(has_job(waits_for_canary()), ~is_under_way)
    if not connection.execute(select(only_waits).where(batches.c.id == batch_id)).scalar_one():
        lift_holds(connection, batch_id, (HoldCode.CANARY,))
        return
    unit = batch_unit(connection, batch_id)
    message = f"{_cost_so_far(connection, batch_id, unit)}; {_waiting(connection, batch_id, unit)}"
    put_hold(connection, batch_id, HoldCode.CANARY, message, f"orchestrator approve {batch_id}")


def _cost_so_far(connection: Connection, batch_id: str, unit: Unit) -> str:
    """What the jobs that ran were to cost and did cost, model by model."""
    rows = connection.execute(
        select(
            jobs.c.model,
            func.count().label("n"),
            func.count().filter(jobs.c.state.in_(_FAILED)).label("failed"),
            func.sum(jobs.c.estimate).label("estimated"),
            func.coalesce(func.sum(jobs.c.spent), 0).label("spent"),
        )
        .where(jobs.c.batch_id == batch_id, jobs.c.state.in_([JobState.COMPLETED, *_FAILED]), _is_bought())
        .group_by(jobs.c.model)
        .order_by(jobs.c.model)
    ).all()
    return "; ".join(_model_cost(row, unit) for row in rows) or "no canary has ended"


def _model_cost(row: Any, unit: Unit) -> str:
    failed = f", {row.failed} failed" if row.failed else ""
    costs = f"{in_words(row.spent, unit)} spent, {canonical(row.estimated)} estimated"
    return f"{row.model}: {_jobs(row.n)}{failed}, {costs}"


def _waiting(connection: Connection, batch_id: str, unit: Unit) -> str:
    count, price = connection.execute(
        select(func.count(), func.coalesce(func.sum(_PRICE), 0)).where(jobs.c.batch_id == batch_id, waits_for_canary())
    ).one()
    return f"{_jobs(count)} of {in_words(price, unit)} wait{'s' if count == 1 else ''} for approval"


def _jobs(count: int) -> str:
    return f"{count} job{'' if count == 1 else 's'}"


def release_waiting(connection: Connection, batch_id: str, job_pks: Sequence[int]) -> int:
    """Let jobs go that wait for the canaries, as far as the jobs that they need; returns how many."""
    named = jobs.c.pk == any_(literal(list(job_pks), ARRAY(BigInteger())))
    released = connection.execute(
        update(jobs)
        .where(jobs.c.batch_id == batch_id, named, waits_for_canary())
        .values(state=JobState.PENDING, waits_for=null(), due_at=NOW)
        .returning(jobs.c.pk)
    ).scalars()
    pks = list(released)
    wait_for_needs(connection, pks)
    return len(pks)


def fails_too_much() -> ColumnElement[bool]:
    """Whether a running batch with something left to send has more failures than it wants to go on with.

    What ended is counted only where there are enough failures for any batch: it is looked at several times a second.
    """
    share = batches.c.stop_when_failed_over
    return and_(
        batches.c.state == BatchState.RUNNING,
        share.is_not(None),
        ~has_hold(HoldCode.STOP_WHEN),
        has_job(jobs.c.state.in_([JobState.PENDING, JobState.WAITING])),
        _failed() > share * _fewest_judged(),
        _failed() > share * _ended(),
    )


def _is_bought() -> ColumnElement[bool]:
    """Whether a job is one to judge by: not reused, and not spoilt by its own row."""
    return and_(jobs.c.reused_from_pk.is_(None), ~is_spoilt())


def _failed() -> Any:
    return _count(jobs.c.state.in_(_FAILED)) - batches.c.forgiven_failed


def _ended() -> Any:
    return _count(jobs.c.state.in_([JobState.COMPLETED, *_FAILED])) - batches.c.forgiven_ended


def _fewest_judged() -> Any:
    """How many jobs there are to judge by, FEWEST_JUDGED at most."""
    first = select(literal(1)).where(jobs.c.batch_id == batches.c.id, _is_bought()).limit(FEWEST_JUDGED)
    return select(func.count()).select_from(first.correlate(batches).subquery("judged")).scalar_subquery()


def _count(condition: ColumnElement[bool]) -> Any:
    """How many of a batch's bought jobs are like that."""
    counted = select(func.count()).where(jobs.c.batch_id == batches.c.id, condition, _is_bought())
    return counted.correlate(batches).scalar_subquery()


def note_failures(connection: Connection, batch_id: str) -> None:
    """Where too much failed, stop the sending until a person has looked."""
    found = connection.execute(
        select(
            _failed().label("failed"), _ended().label("ended"), batches.c.stop_when_failed_over.label("share")
        ).where(batches.c.id == batch_id, fails_too_much())
    ).one_or_none()
    if found is not None:
        share = f"{canonical(Decimal(found.share) * 100)}%"
        message = f"{found.failed} of {_jobs(found.ended)} failed, and the batch is to stop when over {share} do"
        put_hold(connection, batch_id, HoldCode.STOP_WHEN, message, f"orchestrator approve {batch_id}")


def forgive_failures(connection: Connection, batch_id: str) -> None:
    """Go on in spite of what failed so far: only what fails from now on counts for `stop_when`."""
    lift_holds(connection, batch_id, (HoldCode.STOP_WHEN,))
    forgiven = {
        "forgiven_failed": _count(jobs.c.state.in_(_FAILED)),
        "forgiven_ended": _count(jobs.c.state.in_([JobState.COMPLETED, *_FAILED])),
    }
    stops = batches.c.stop_when_failed_over.is_not(None)
    connection.execute(update(batches).where(batches.c.id == batch_id, stops).values(forgiven))
