"""Storing a batch that is to run: its input media first, then all its rows in one transaction."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any

from orchestrator.assets.destination import Destination, open_destination
from orchestrator.assets.media import MediaStore
from orchestrator.base.errors import SpendRefused
from orchestrator.base.money import canonical
from orchestrator.base.payments import Unit
from orchestrator.base.states import JobError
from orchestrator.operations.database import patiently
from orchestrator.operations.keeping import keep_media
from orchestrator.planner.compare import Comparison
from orchestrator.planner.item_media import media_of
from orchestrator.planner.standing import Standing, Verdict
from orchestrator.store import accounts, batches, collections, creating, reads, settling, superseding
from orchestrator.store.approving import APPROVABLE_HOLDS
from orchestrator.store.collections import Shelf
from orchestrator.store.database import Connection, Database, OutOfReach
from orchestrator.store.money_holds import told_holds

#: A run that costs so many times as much as usual needs a person's word.
UNUSUAL_TIMES = 3


class SecondRun(SpendRefused):
    """Another batch of the collection is in the way."""


@dataclass(frozen=True, slots=True)
class Order:
    """A batch to be stored, and what it was compared with: nothing of that may have moved on since.

    `moved` are the new URIs of assets that were copied here. For the rest see `SubmitOptions`.
    """

    comparison: Comparison
    shelf: Shelf
    batch_id: str
    account_pk: int
    destination: Destination
    media: str
    moved: Mapping[int, str]
    sandbox: bool = False
    alongside: bool = False
    beside_held: bool = False
    key: str | None = None
    usual_credits: Decimal | None = None


def store(database: Database, order: Order) -> str:
    """Store the batch; returns its id. That is another one's where someone was quicker with the same key.

    A batch with nothing to be sent is completed at once. Raises SpendRefused, SecondRun, DestinationFailed.
    """
    _keep_media(order)
    batch = _new_batch(order)
    try:
        with database.begin() as connection:
            return _create(connection, batch, order)
    except OutOfReach:  # perhaps between COMMIT and its answer, and then workers may already buy it
        if not _was_stored(database, batch):
            raise
        return batch.id


def _create(connection: Connection, batch: creating.NewBatch, order: Order) -> str:
    lock = accounts.lock_account if batch.sandbox else accounts.lock_accounts_beside
    lock(connection, batch.account_pk)
    if batch.submit_key is not None:
        first_id = batches.batch_of_key(connection, order.shelf.account_pk, batch.submit_key)
        if first_id is not None:
            return first_id
    if reads.is_batch(connection, batch.id):
        raise SpendRefused(f"{batch.id} was just taken by another run; nothing was stored or sent", hint="submit again")
    if not order.alongside:
        _require_alone(connection, batch, order)
    creating.create_batch(connection, batch)
    if order.beside_held:
        superseding.take_over(connection, batch.id)
    if not any(map(batch.is_sent, batch.jobs)):
        settling.settle_batch(connection, batch.id)
    return batch.id


def _way_on(connection: Connection, batch_id: str) -> str:
    """The command that lets an open batch go on: its hold's, where `resume` is no answer to that."""
    answered = (hold.command for hold in told_holds(connection, batch_id) if hold.code in APPROVABLE_HOLDS)
    return next(answered, f"orchestrator resume {batch_id}")


def _require_alone(connection: Connection, batch: creating.NewBatch, order: Order) -> None:
    in_the_way = settling.moving_batch_of if order.beside_held else batches.open_batch_of
    still_open = in_the_way(connection, batch.name, batch.account_pk)
    if still_open is not None:
        raise SecondRun(
            f"{still_open} of the same collection can still move; a second run would buy its jobs again",
            hint=f"go on with it: {_way_on(connection, still_open)}; or run a second one: --alongside",
        )
    jobs = (verdict.job for verdict in order.comparison.verdicts if verdict.is_bought)
    bought = {job.fingerprint for job in jobs if job.fingerprint is not None}
    if not collections.is_still_so(connection, order.shelf, order.comparison.history, bought):
        raise SecondRun(
            f"another run of {batch.name} bought the same while this one was looked at; nothing was stored or sent",
            hint="submit again: what it made is not bought again then",
        )


def _was_stored(database: Database, batch: creating.NewBatch) -> bool:
    """Whether a transaction whose end was not seen stored the batch. Raises OutOfReach where nobody can tell."""
    try:
        return patiently(database, partial(reads.was_stored, batch_id=batch.id, account_pk=batch.account_pk))
    except OutOfReach as error:
        raise OutOfReach(
            f"{error.message}; whether {batch.id} was stored is not known",
            hint=f"before you submit again: orchestrator status {batch.id}",
        ) from None


def _keep_media(order: Order) -> None:
    """Keep the bytes of whatever may be sent; what is reused needs none."""
    planned, reused = order.comparison.plan, order.comparison.reused
    needed = {sha256 for job in planned.jobs if job.ordinal not in reused for sha256 in media_of(job.item)}
    blobs = [planned.media[sha256] for sha256 in sorted(needed & planned.media.keys())]
    keep_media(MediaStore(open_destination(order.media)), blobs)


def _new_batch(order: Order) -> creating.NewBatch:
    comparison, planned = order.comparison, order.comparison.plan
    amount = comparison.bought().amount
    return creating.NewBatch(
        id=order.batch_id,
        name=str(planned.name),
        sandbox=order.sandbox,
        account_pk=order.account_pk,
        destination=order.destination.describe(),
        media=order.media,
        key=planned.key,
        bundle=planned.bundle,
        labels=planned.labels,
        manifest=planned.source,
        catalog=planned.catalog,
        estimated=amount,
        budget=planned.budget,
        usd_per_credit=planned.usd_per_unit,
        jobs=planned.jobs,
        price_tolerance=planned.price_tolerance,
        canary=planned.canary,
        stop_when_failed_over=planned.stop_when_failed_over,
        submit_key=order.key,
        unusual=_unusual(comparison.estimate, order.usual_credits),
        reused={ordinal: past.pk for ordinal, past in comparison.reused.items()},
        gates=comparison.gates,
        left_out={ordinal: _error(verdict) for ordinal, verdict in comparison.left_out.items()},
        moved=order.moved,
        rejected=planned.rejected,
        notify=planned.notify,
        partial=planned.partial,
        payment=planned.payment,
        work_credits=None if planned.payment.unit is Unit.CREDITS else comparison.estimate,
    )


def _error(verdict: Verdict) -> dict[str, Any]:
    """Why a job is skipped from the start: the error it had before, where it had one."""
    if verdict.standing is Standing.DEPENDENCY_FAILED:
        return {"code": JobError.DEPENDENCY_FAILED, "message": verdict.reason(), "charged": False, "provider": None}
    if verdict.standing is Standing.UNDER_WAY:
        return {"code": JobError.UNKNOWN, "message": verdict.reason(), "charged": False, "provider": None}
    before = verdict.source.error if verdict.source and verdict.standing is Standing.FAILED_BEFORE else None
    before = before or {"code": JobError.UNKNOWN, "message": "whether it was charged is not known"}
    message = f"{verdict.reason()}: {before['message']}"
    return {"code": before["code"], "message": message, "charged": False, "provider": before.get("provider")}


def _unusual(new: Decimal, usual: Decimal | None) -> str | None:
    """Why so much new work is to be looked at first; None where it is as usual, or nobody can tell."""
    if usual is None or new <= UNUSUAL_TIMES * usual:
        return None
    return f"{canonical(new)} credits of new work, over {UNUSUAL_TIMES} times the usual {canonical(usual)} of a run"
