"""The submit step: claimed work is sent once, and what became of it is written down.

1. `claim`: one transaction reserves the money and writes the submission as `intended`.
2. `send`: build the exact bytes, open a connection, commit `sent`, leave a receipt that says so outside the database,
   and only then let them leave.
3. Leave a receipt of its request id, or that it was not charged, and record the verdict.

Killed before 2, the work is pending again; killed after it, it is in doubt until a receipt or evidence tells.
"""

import asyncio
import functools
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from orchestrator.assets.errors import AssetError
from orchestrator.base.errors import Unusable
from orchestrator.engine import answered, unsent
from orchestrator.engine.bodies import call_for, has_media, submission_body
from orchestrator.engine.poll import learn_times
from orchestrator.engine.reconcile import take_baseline
from orchestrator.engine.runtime import Engine, log
from orchestrator.katana.line import PAY_DEADLINE_SECONDS
from orchestrator.katana.verdict import Verdict
from orchestrator.receipts.receipt import Order, Receipt
from orchestrator.store import sending
from orchestrator.store.claims import ClaimedSubmission, claim_submissions, claim_unless_locked
from orchestrator.store.database import Connection, OutOfReach
from orchestrator.store.orders import orders_of

#: Who claimed a moment ago does not queue for the account's lock with those who claim now; who did not does, so that
#: no series of short locks keeps it out.
_QUEUE_AFTER_SECONDS = 1.0
#: Longer than the longest POST, with room for what is committed around it.
LEASE_SECONDS = PAY_DEADLINE_SECONDS + 120
#: What was not sent so long after it was marked as sent never is: others may judge by then what became of it.
SEND_WITHIN = timedelta(seconds=60)


async def claim(engine: Engine, limit: int) -> list[ClaimedSubmission]:
    """Write the intents of up to `limit` due jobs."""
    if not await engine.may_buy():
        return []
    await take_baseline(engine)
    most_jobs = engine.limits.max_in_flight
    queues = engine.clock.monotonic() >= engine.claimed_at + _QUEUE_AFTER_SECONDS
    take = claim_submissions if queues else claim_unless_locked
    claimed = await engine.claim(take, seconds=LEASE_SECONDS, limit=limit, max_in_flight=most_jobs)
    if claimed is None:
        return []
    engine.claimed_at = engine.clock.monotonic()
    if claimed:
        await learn_times(engine)
    return claimed


async def send(engine: Engine, work: ClaimedSubmission) -> None:
    """Send one claimed submission and record what became of it."""
    body = await make_ready(engine, work)
    if body is None:
        return
    departure = sending.Departure(work.id, work.token, hashlib.sha256(body).hexdigest())
    leaving = Leaving(functools.partial(engine.together, _depart, departure))
    post = engine.client.submit(
        body,
        call=call_for(work.items),
        item_count=len(work.jobs),
        send_before=engine.clock.now() + SEND_WITHIN,
        leave=leaving,
    )
    verdict = await unless_kept_back(engine, work, post)
    if verdict is None:
        return
    for job in work.jobs:
        engine.send_faults.end(job.pk)
    if leaving.order is not None:
        await engine.together(_keep_receipts, answered.receipt(engine, leaving.order, verdict))
    await answered.record(engine, work, verdict)


class _NotWanted(Exception):
    """A submission may not be sent any more."""


class _NoReceipt(Exception):
    """No receipt can be left of a submission that is marked as sent."""


class _OurFault(Exception):
    """We stumbled over a submission before a byte of it left."""


@dataclass(slots=True)
class Leaving:
    """Puts on record that a submission is sent; called with its connection open, right before the first byte.

    So whoever is killed leaves in doubt only what was on the wire. `record` tells what is bought (None: it may not be)
    and whether that has a receipt; `order` is that, once it is on record.
    """

    record: Callable[[], Awaitable[tuple[Order | None, bool]]]
    order: Order | None = None

    async def __call__(self) -> None:
        try:
            self.order, has_receipt = await self.record()
        except Unusable:
            raise
        except Exception as error:
            raise _OurFault(type(error).__name__) from error
        if self.order is None:
            raise _NotWanted
        if not has_receipt:
            raise _NoReceipt


async def unless_kept_back(engine: Engine, work: ClaimedSubmission, post: Awaitable[Verdict]) -> Verdict | None:
    """What became of a POST that is left by `Leaving`; None where it was kept back, and has gone back."""
    try:
        return await post
    except OutOfReach:
        raise
    except Unusable:
        await unsent.take_back_unknown(engine, work)
        raise
    except _NotWanted:
        await unsent.take_back_unwanted(engine, work)
    except _NoReceipt:
        await unsent.return_unsent(engine, work, "its receipt could not be written")
    except _OurFault as error:
        log.exception("submission %s of %s could not be marked as sent", work.id, work.batch_id)
        await unsent.put_aside(engine, work, f"a fault of ours: {error}")
    return None


async def _depart(engine: Engine, departures: Sequence[sending.Departure]) -> list[tuple[Order | None, bool]]:
    """Of each the order, once it is written that it is sent (None: it may not be), and whether that has a receipt."""
    await engine.require_known()  # since they were claimed, a backup may have been put back
    orders = await engine.transact(_mark_sent, departures)
    has_receipts = await engine.keep_receipts(*map(Receipt.sent, orders.values()))
    return [(orders.get(departure.id), has_receipts) for departure in departures]


def _mark_sent(connection: Connection, departures: Sequence[sending.Departure]) -> dict[UUID, Order]:
    """What is bought, once it is written that it is; without what may not be sent any more."""
    return orders_of(connection, sending.mark_sent(connection, departures, lease_seconds=LEASE_SECONDS))


async def _keep_receipts(engine: Engine, receipts: Sequence[Receipt | None]) -> Sequence[bool]:
    is_kept = await engine.keep_receipts(*filter(None, receipts))
    return [is_kept] * len(receipts)


async def make_ready(engine: Engine, work: ClaimedSubmission) -> bytes | None:
    """The exact bytes of a submission that may go; None where it was dealt with: it cannot, or not now."""
    try:
        body = await body_of(engine, work.media, work.items)
    except AssetError as error:
        await unsent.wait_for_media(engine, work, error)
        return None
    except Exception as error:  # noqa: BLE001 - a fault of ours in one job must not stop the sending of all others
        log.exception("jobs %s of %s: no request could be made of them", [job.name for job in work.jobs], work.batch_id)
        await unsent.put_aside(engine, work, f"a fault of ours: {type(error).__name__}")
        return None
    engine.media_failing.end(work.batch_id)
    if engine.stopping:
        await unsent.take_back(engine, work, "stopped before it was sent", retry_in_seconds=0)
        return None
    return body


async def body_of(engine: Engine, media: str, items: list[dict[str, Any]]) -> bytes:
    """The exact bytes to send for stored items; their files are read in a thread. Raises AssetError."""
    read_media = functools.partial(engine.read_media, media)
    if has_media(items):
        return await asyncio.to_thread(submission_body, items, read_media)
    return submission_body(items, read_media)
