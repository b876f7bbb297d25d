"""Finding a batch, and what a person does to a whole one: resume, pause, cancel."""

from typing import Any

from sqlalchemy import Connection, null, select, update

from orchestrator.base.errors import UsageError
from orchestrator.base.states import ENDED_BATCHES, BatchState, HoldCode, JobState, SubmissionState
from orchestrator.store.accounts import is_of_collection, lock_account
from orchestrator.store.careful_start import forgive_failures
from orchestrator.store.database import NOW
from orchestrator.store.holds import lift_holds
from orchestrator.store.settling import settle_batch
from orchestrator.store.silence import await_anew
from orchestrator.store.tables import batches, jobs, submissions

#: Holds that `resume` takes away, to try again. Doubt stays until it is settled, and what wants an answer until it
#: has one.
RESUMABLE_HOLDS = (
    HoldCode.BUDGET_REACHED,
    HoldCode.BALANCE_LOW,
    HoldCode.PAYMENT_REFUSED,
    HoldCode.PROVIDER_REFUSING,
    HoldCode.DESTINATION_FAILING,
)
#: Holds that are about sending alone, and so mean nothing once nothing is left to send.
_SENDING_HOLDS = (
    HoldCode.BUDGET_REACHED,
    HoldCode.BALANCE_LOW,
    HoldCode.PRICE_CHANGED,
    HoldCode.STOP_WHEN,
    HoldCode.CANARY,
    HoldCode.GATE,
    HoldCode.UNUSUAL_WORK,
    HoldCode.PAYMENT_REFUSED,
)


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
    """The newest batch of a collection that can still move, whoever pays for it at this provider, or None."""
    found = connection.execute(
        select(batches.c.id)
        .where(is_of_collection(name, account_pk), batches.c.state.not_in(ENDED_BATCHES))
        .order_by(batches.c.created_at.desc())
        .limit(1)
    ).scalar_one_or_none()
    return None if found is None else str(found)


def batch_of_key(connection: Connection, account_pk: int | None, submit_key: str) -> str | None:
    """The batch that an account, or somebody with a sandbox of its own (None), has submitted under a key, or None."""
    mine = batches.c.sandbox if account_pk is None else batches.c.account_pk == account_pk
    found = select(batches.c.id).where(mine, batches.c.submit_key == submit_key).limit(1)
    return connection.execute(found).scalar_one_or_none()


def lock_batch(connection: Connection, batch_id: str) -> Any:
    """The row of an existing batch, locked after its account's: nothing of it is claimed meanwhile."""
    query = select(batches).where(batches.c.id == batch_id)
    lock_account(connection, connection.execute(query).one().account_pk)
    return connection.execute(query.with_for_update(key_share=True)).one()


def resume_batch(connection: Connection, batch_id: str, *, forgive: bool = True) -> BatchState:
    """Let a held or paused batch go on: lift what can be tried again, make its work due now, settle its state.

    `forgive`: also lift `stop-when`, and count failures anew from here.
    """
    lock_batch(connection, batch_id)
    if forgive and lift_holds(connection, batch_id, (HoldCode.STOP_WHEN,)):
        forgive_failures(connection, batch_id)
    lift_holds(connection, batch_id, RESUMABLE_HOLDS)
    await_anew(connection, batch_id)
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
    refused = (
        select(submissions.c.id)
        .where(submissions.c.batch_id == batch_id, submissions.c.state == SubmissionState.ACCEPTED)
        .where(submissions.c.poll_failures > 0, submissions.c.due_at > NOW)
        .with_for_update(skip_locked=True)  # one that is being polled is due soon anyway
    )
    connection.execute(update(submissions).where(submissions.c.id.in_(refused)).values(due_at=NOW))
    return settle_batch(connection, batch_id)


def pause_batch(connection: Connection, batch_id: str) -> BatchState:
    """Send nothing new until `resume`; what was paid for goes on. Repeating it changes nothing.

    Raises UsageError where there is nothing to stop: the batch has ended, or was cancelled.
    """
    batch = lock_batch(connection, batch_id)
    if batch.state in ENDED_BATCHES or batch.cancelled_at is not None:
        raise UsageError(f"{batch_id} {_how_it_ended(batch)}; there is nothing to pause")
    connection.execute(update(batches).where(batches.c.id == batch_id).values(state=BatchState.PAUSED))
    return settle_batch(connection, batch_id)


def cancel_batch(connection: Connection, batch_id: str) -> BatchState:
    """Take back what is not sent, for good; what was paid for goes on, and then the batch is `cancelled`.

    Cancelling it again changes nothing. Raises UsageError where it has ended otherwise.
    """
    batch = lock_batch(connection, batch_id)
    if batch.cancelled_at is not None:
        return BatchState(batch.state)
    if batch.state in ENDED_BATCHES:
        raise UsageError(f"{batch_id} {_how_it_ended(batch)}; there is nothing to cancel")
    lift_holds(connection, batch_id, _SENDING_HOLDS)
    connection.execute(
        update(batches).where(batches.c.id == batch_id).values(state=BatchState.RUNNING, cancelled_at=NOW)
    )
    return settle_batch(connection, batch_id)


def reopen_batch(connection: Connection, batch_id: str) -> None:
    """Let a batch that ended with failures run again, now that something of it is to be done over."""
    connection.execute(
        update(batches)
        .where(batches.c.id == batch_id, batches.c.state.in_([BatchState.FAILED, BatchState.PARTIAL_FAILURE]))
        .values(state=BatchState.RUNNING, finished_at=null())
    )


def _how_it_ended(batch: Any) -> str:
    if batch.cancelled_at is not None:
        return "was cancelled"
    return f"has ended ({batch.state.replace('_', ' ')})"
