"""Settling a batch: its state and holds follow from the states of its jobs. Who works a batch repeats it often."""

from decimal import Decimal
from functools import lru_cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, func, null, or_, select, update

from orchestrator.base.money import in_words
from orchestrator.base.states import ACTIVE_JOBS, ENDED_BATCHES, GOOD_JOBS, BatchState, HoldCode, JobState
from orchestrator.store import outbox
from orchestrator.store.accounts import Scope, is_of_collection
from orchestrator.store.branches import skipped_below
from orchestrator.store.careful_start import fails_too_much, note_canary, note_failures
from orchestrator.store.chains import has_ends_to_pass_on
from orchestrator.store.database import NOW
from orchestrator.store.doubts import outlook
from orchestrator.store.gates import note_gates
from orchestrator.store.holds import has_hold, has_job, is_blocked, lift_holds, put_hold
from orchestrator.store.silence import is_awaited
from orchestrator.store.tables import batches, jobs
from orchestrator.store.units import batch_unit

#: The share of a batch's budget that may be in doubt before it sends nothing more.
DOUBTFUL_SHARE = Decimal("0.1")
#: Jobs that were not sent: what `cancel` takes back.
UNSENT_JOBS = (JobState.WAITING, JobState.PENDING)


def any_at_work(connection: Connection, scope: Scope) -> bool:
    """Whether a batch in scope can still move by itself; of a paused one, what was paid for."""
    at_work = select(batches.c.id).where(scope.covers(batches.c.account_pk, batches.c.id), _moves()).exists()
    return bool(connection.execute(select(at_work)).scalar_one())


def moving_batch_of(connection: Connection, name: str, account_pk: int) -> str | None:
    """The newest batch of a collection that moves by itself, as `open_batch_of`, or None: one that is held does not."""
    found = select(batches.c.id).where(is_of_collection(name, account_pk), _moves())
    return connection.execute(found.order_by(batches.c.created_at.desc()).limit(1)).scalar_one_or_none()


def _moves() -> ColumnElement[bool]:
    """Whether a batch can still move by itself; of a paused one, what was paid for."""
    return or_(
        batches.c.state == BatchState.RUNNING,
        and_(batches.c.state == BatchState.PAUSED, has_job(_paid_moves())),
    )


def unsettled_batches(connection: Connection, scope: Scope) -> list[str]:
    """Open batches that are not in line: nothing moves in a running one, something in a held one, all is over, too
    much fails, there is something left to take back, or the hold for doubt does not say what its jobs do.
    """
    return [str(batch_id) for batch_id in connection.execute(_unsettled(scope)).scalars()]


@lru_cache
def _unsettled(scope: Scope) -> Select[Any]:
    is_over = ~has_job(jobs.c.state.in_([*ACTIVE_JOBS, JobState.IN_DOUBT]))
    return select(batches.c.id).where(
        scope.covers(batches.c.account_pk, batches.c.id),
        batches.c.state.not_in(ENDED_BATCHES),
        or_(
            and_(batches.c.state == BatchState.RUNNING, ~_movable()),
            and_(batches.c.state == BatchState.HELD, _movable()),
            and_(batches.c.state.in_([BatchState.HELD, BatchState.PAUSED]), is_over),
            and_(batches.c.cancelled_at.is_not(None), has_job(jobs.c.state.in_(UNSENT_JOBS))),
            has_job(jobs.c.state == JobState.IN_DOUBT) != has_hold(HoldCode.IN_DOUBT),
            fails_too_much(),
        ),
    )


def _movable() -> ColumnElement[bool]:
    """Whether a job of the batch can move by itself, seen the holds of its batch."""
    sendable = and_(jobs.c.state == JobState.PENDING, batches.c.cancelled_at.is_(None), ~is_blocked())
    return or_(has_job(or_(sendable, _paid_moves())), has_ends_to_pass_on())


def _paid_moves() -> ColumnElement[bool]:
    """Whether a job that is under way at the provider, or finished there, can move by itself.

    One in doubt can while its signed payment is there to be sent again, or to be looked up on its chain, and that
    answers. While the destination fails, a finished job is still tried once: its files are then safe in the spool.
    """
    untried = jobs.c.copy_failures == 0
    return or_(
        jobs.c.state == JobState.SUBMITTING,
        and_(jobs.c.state == JobState.GENERATING, ~has_hold(HoldCode.PROVIDER_REFUSING)),
        and_(jobs.c.state == JobState.COPYING, or_(untried, ~has_hold(HoldCode.DESTINATION_FAILING))),
        and_(jobs.c.state == JobState.IN_DOUBT, is_awaited(jobs.c.submission_id)),
    )


def settle_batch(connection: Connection, batch_id: str) -> BatchState:
    """Bring a batch's state into line with its jobs and holds, under its row lock; idempotent."""
    batch = connection.execute(select(batches).where(batches.c.id == batch_id).with_for_update(key_share=True)).one()
    state = BatchState(batch.state)
    if state in ENDED_BATCHES:
        return state
    if batch.cancelled_at is not None:
        cancel_unsent(connection, batch_id)
    note_doubt(connection, batch_id)
    note_gates(connection, batch_id)
    note_canary(connection, batch_id)
    note_failures(connection, batch_id)
    counts, movable = _standing(connection, batch_id)
    target = _target_state(state, counts, movable=movable, is_cancelled=batch.cancelled_at is not None)
    if target is BatchState.COMPLETED and skipped_below(connection, batch_id, (), elsewhere=True):
        target = BatchState.PARTIAL_FAILURE  # a retry mended what they were skipped for, and left them out
    if target is not state:
        _move_to(connection, batch_id, target)
    return target


def cancel_unsent(connection: Connection, batch_id: str) -> None:
    """Take back what is not sent, also what came back since the batch was cancelled."""
    connection.execute(
        update(jobs)
        .where(jobs.c.batch_id == batch_id, jobs.c.state.in_(UNSENT_JOBS))
        .values(state=JobState.CANCELLED, waits_for=null(), ended_at=NOW)
    )


def _standing(connection: Connection, batch_id: str) -> tuple[dict[str, int], bool]:
    """How many jobs are in each state, and whether one can move; in one statement, since jobs move meanwhile."""
    movable = select(_movable()).where(batches.c.id == batch_id).scalar_subquery().label("movable")
    found = connection.execute(
        select(jobs.c.state, func.count().label("n"), movable).where(jobs.c.batch_id == batch_id).group_by(jobs.c.state)
    ).all()
    return {row.state: row.n for row in found}, any(row.movable for row in found)


def _move_to(connection: Connection, batch_id: str, target: BatchState) -> None:
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
    if ended:
        outbox.note_finished(connection, batch_id)


def note_doubt(connection: Connection, batch_id: str) -> None:
    """Say at once, while the rest goes on, that money is in doubt; where it is too much, nothing more is sent.

    Too much is more than a tenth of the budget (of the estimate where there is none), and more than one job.
    """
    price = func.coalesce(jobs.c.price, jobs.c.estimate)
    count, doubtful, dearest, first = connection.execute(
        select(
            func.count(),
            func.coalesce(func.sum(price), 0),
            func.coalesce(func.max(price), 0),
            func.min(jobs.c.name),
        ).where(jobs.c.batch_id == batch_id, jobs.c.state == JobState.IN_DOUBT)
    ).one()
    if not count:
        lift_holds(connection, batch_id, (HoldCode.IN_DOUBT,))
        return
    base = connection.execute(
        select(func.coalesce(batches.c.budget, batches.c.estimated)).where(batches.c.id == batch_id)
    ).scalar_one()
    limit = max(DOUBTFUL_SHARE * base, dearest)
    too_much = doubtful > limit
    unit = batch_unit(connection, batch_id)
    message = f"{count} job(s) may have been paid for and their answers were lost, {in_words(doubtful, unit)}"
    if too_much:
        message += f": more than {in_words(limit, unit)} in doubt, so nothing more is sent until it is settled"
    command = f"orchestrator resolve {batch_id} --job {first} --as charged|not-charged"
    if count > 1:
        message += f"; one is settled after the other, or all of them with --all in place of --job {first}"
    if (told := outlook(connection, batch_id)) is not None:
        message += f"; {told.words}"
        if told.may_tell:  # a word of a person ends what the balance can tell
            message += f"; what you know yourself settles it, too: {command}"
            command = f"orchestrator resume {batch_id}"
    put_hold(connection, batch_id, HoldCode.IN_DOUBT, message, command, blocking=too_much)


def _target_state(state: BatchState, counts: dict[str, int], *, movable: bool, is_cancelled: bool) -> BatchState:
    if sum(counts.get(name, 0) for name in ACTIVE_JOBS):
        if state is BatchState.PAUSED:
            return state
        return BatchState.RUNNING if movable else BatchState.HELD
    if counts.get(JobState.IN_DOUBT):
        if not movable:
            return BatchState.HELD
        return state if state is BatchState.PAUSED else BatchState.RUNNING
    if is_cancelled:
        return BatchState.CANCELLED
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
