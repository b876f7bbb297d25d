"""Finding a batch, and settling its state from the states of its jobs."""

from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, and_, exists, func, null, or_, select, update

from orchestrator.base.errors import UsageError
from orchestrator.base.money import canonical
from orchestrator.base.states import (
    ACTIVE_JOBS,
    BLOCKING_HOLDS,
    ENDED_BATCHES,
    GOOD_JOBS,
    BatchState,
    HoldCode,
    JobState,
)
from orchestrator.store.accounts import Scope
from orchestrator.store.database import NOW
from orchestrator.store.holds import is_blocked, lift_holds, put_hold
from orchestrator.store.tables import batches, holds, jobs

#: Holds that `resume` takes away, to try again; doubt stays until it is settled.
RESUMABLE_HOLDS = (*BLOCKING_HOLDS, HoldCode.DESTINATION_FAILING)


#: The share of a batch's budget that may be in doubt before it sends nothing more.
DOUBTFUL_SHARE = Decimal("0.1")


def find_batch(connection: Connection, reference: str) -> str:
    """The id that an id, `latest`, a collection's name or a unique prefix of an id means. Raises UsageError."""
    newest = select(batches.c.id).order_by(batches.c.created_at.desc(), batches.c.id.desc()).limit(1)
    wanted = [batches.c.id == reference, batches.c.name == reference]
    if reference == "latest":
        wanted.insert(1, batches.c.id.is_not(None))
    for condition in wanted:
        found = connection.execute(newest.where(condition)).scalar_one_or_none()
        if found is not None:
            return str(found)
    by_prefix = select(batches.c.id).where(batches.c.id.startswith(reference, autoescape=True)).limit(3)
    matches = [str(match) for match in connection.execute(by_prefix).scalars()] if reference else []
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise UsageError(f"{reference!r} could be {', '.join(sorted(matches))}", hint="give more of the id")
    raise UsageError(f"there is no batch {reference!r}", hint="orchestrator status lists the recent ones")


def open_batch_of(connection: Connection, name: str, account_pk: int) -> str | None:
    """The newest batch of a collection that can still move, or None."""
    found = connection.execute(
        select(batches.c.id)
        .where(batches.c.name == name, batches.c.account_pk == account_pk, batches.c.state.not_in(ENDED_BATCHES))
        .order_by(batches.c.created_at.desc())
        .limit(1)
    ).scalar_one_or_none()
    return None if found is None else str(found)


def resume_batch(connection: Connection, batch_id: str) -> BatchState:
    """Let a held or paused batch go on: lift what can be tried again, make its work due now, settle its state."""
    lift_holds(connection, batch_id, RESUMABLE_HOLDS)
    connection.execute(
        update(batches)
        .where(batches.c.id == batch_id, batches.c.state.in_([BatchState.PAUSED, BatchState.HELD]))
        .values(state=BatchState.RUNNING)
    )
    connection.execute(
        update(jobs)
        .where(jobs.c.batch_id == batch_id, jobs.c.state.in_([JobState.PENDING, JobState.COPYING]), jobs.c.due_at > NOW)
        .values(due_at=NOW)
    )
    return settle_batch(connection, batch_id)


def any_running(connection: Connection, scope: Scope) -> bool:
    """Whether a batch in scope can still move by itself."""
    running = exists().where(batches.c.state == BatchState.RUNNING, scope.covers(batches.c.account_pk, batches.c.id))
    return bool(connection.execute(select(running)).scalar_one())


def unsettled_batches(connection: Connection, scope: Scope) -> list[str]:
    """Open batches that are not in line: nothing moves in a running one, something in a held one, or all is over."""
    found = connection.execute(
        select(batches.c.id).where(
            scope.covers(batches.c.account_pk, batches.c.id),
            or_(
                and_(batches.c.state == BatchState.RUNNING, ~_movable()),
                and_(batches.c.state == BatchState.HELD, _movable()),
                and_(
                    batches.c.state.in_([BatchState.HELD, BatchState.PAUSED]),
                    ~_has_job(*ACTIVE_JOBS, JobState.IN_DOUBT),
                ),
            ),
        )
    ).scalars()
    return [str(batch_id) for batch_id in found]


def _movable() -> Any:
    """Whether a job of the batch can move by itself, seen the holds of its batch.

    While the destination fails, a finished job is still tried once: its files are then safe in the spool.
    """
    untried = jobs.c.copy_failures == 0
    return exists().where(
        jobs.c.batch_id == batches.c.id,
        or_(
            jobs.c.state == JobState.SUBMITTING,
            and_(jobs.c.state == JobState.GENERATING, ~_has_hold(HoldCode.PROVIDER_REFUSING)),
            and_(jobs.c.state == JobState.COPYING, or_(untried, ~_has_hold(HoldCode.DESTINATION_FAILING))),
            and_(jobs.c.state == JobState.PENDING, ~is_blocked()),
        ),
    )


def _has_job(*states: JobState) -> Any:
    return exists().where(jobs.c.batch_id == batches.c.id, jobs.c.state.in_(states))


def _has_hold(*codes: HoldCode) -> Any:
    return exists().where(holds.c.batch_id == batches.c.id, holds.c.code.in_(codes))


def settle_batch(connection: Connection, batch_id: str) -> BatchState:
    """Bring a batch's state into line with its jobs and holds, under its row lock; idempotent."""
    state = BatchState(
        connection.execute(
            select(batches.c.state).where(batches.c.id == batch_id).with_for_update(key_share=True)
        ).scalar_one()
    )
    counts: dict[str, int] = {
        found.state: found.n
        for found in connection.execute(
            select(jobs.c.state, func.count().label("n")).where(jobs.c.batch_id == batch_id).group_by(jobs.c.state)
        )
    }
    note_doubt(connection, batch_id)
    movable = connection.execute(select(_movable()).where(batches.c.id == batch_id)).scalar_one()
    target = _target_state(state, counts, movable=movable)
    if target is not state:
        ended = target in ENDED_BATCHES
        if ended:
            lift_holds(connection, batch_id, tuple(HoldCode))
        stopped = ended or target is BatchState.HELD
        connection.execute(
            update(batches)
            .where(batches.c.id == batch_id)
            .values(
                state=target,
                finished_at=NOW if ended else null(),
                index_due=True if stopped else batches.c.index_due,
            )
        )
    return target


def note_doubt(connection: Connection, batch_id: str) -> None:
    """Say at once, while the rest goes on, that money is in doubt; where it is too much, nothing more is sent.

    Too much is more than a tenth of the budget (of the estimate where there is none), and more than one job.
    """
    price = func.coalesce(jobs.c.price, jobs.c.estimate)
    count, doubtful, dearest = connection.execute(
        select(func.count(), func.coalesce(func.sum(price), 0), func.coalesce(func.max(price), 0)).where(
            jobs.c.batch_id == batch_id, jobs.c.state == JobState.IN_DOUBT
        )
    ).one()
    if not count:
        lift_holds(connection, batch_id, (HoldCode.IN_DOUBT,))
        return
    base = connection.execute(
        select(func.coalesce(batches.c.budget, batches.c.estimated)).where(batches.c.id == batch_id)
    ).scalar_one()
    limit = max(DOUBTFUL_SHARE * base, dearest)
    too_much = doubtful > limit
    message = f"{count} job(s) may have been paid for and their answers were lost, {canonical(doubtful)} credits"
    if too_much:
        message += f": more than {canonical(limit)} credits in doubt, so nothing more is sent until it is settled"
    command = f"orchestrator resolve {batch_id} --job ID --as charged|not-charged"
    put_hold(connection, batch_id, HoldCode.IN_DOUBT, message, command, blocking=too_much)


def _target_state(state: BatchState, counts: dict[str, int], *, movable: bool) -> BatchState:
    if state in ENDED_BATCHES:
        return state
    active = sum(counts.get(name, 0) for name in ACTIVE_JOBS)
    if active:
        if state is BatchState.PAUSED:
            return state
        return BatchState.RUNNING if movable else BatchState.HELD
    if counts.get(JobState.IN_DOUBT):
        return BatchState.HELD
    if sum(counts.get(name, 0) for name in GOOD_JOBS) == sum(counts.values()):
        return BatchState.COMPLETED
    return BatchState.PARTIAL_FAILURE if counts.get(JobState.COMPLETED) else BatchState.FAILED


def batches_to_index(connection: Connection, scope: Scope) -> list[str]:
    """Batches whose index has to be written because they ended or were held."""
    due = select(batches.c.id).where(batches.c.index_due, scope.covers(batches.c.account_pk, batches.c.id))
    return [str(batch_id) for batch_id in connection.execute(due).scalars()]


def record_indexed(connection: Connection, batch_id: str) -> None:
    """The index of a batch is written."""
    connection.execute(update(batches).where(batches.c.id == batch_id).values(index_due=False))
