"""Sending what is in the outbox, beside the steps: whoever is told may be down or slow, and holds up nothing."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from orchestrator.base.logs import LogEvent, as_event
from orchestrator.base.notices import host_of
from orchestrator.engine.runtime import Engine
from orchestrator.notices.client import NoticeClient
from orchestrator.notices.message import Notice
from orchestrator.store.database import OutOfReach
from orchestrator.store.deliveries import ClaimedNotice, claim_notices, record_delivered, record_failed

log = logging.getLogger("orchestrator.notices")

#: Notices that are sent at once.
_SLOTS = 16
_ASK_SECONDS = 1.0
#: After a fault that nobody foresaw.
_FAULT_SECONDS = 5.0
#: What the last notices of a process that has nothing else to do may take; the rest goes with the next one.
_LAST_SECONDS = 10.0


@asynccontextmanager
async def sending_notices(engine: Engine, client: NoticeClient) -> AsyncIterator[None]:
    """Send what is due for as long as the body runs, then what it left, for a while unless we are asked to stop."""
    closing = asyncio.Event()
    task = asyncio.create_task(_keep_sending(engine, client, closing))
    try:
        yield
    finally:
        closing.set()
        with suppress(TimeoutError):
            await asyncio.wait_for(task, 0 if engine.stopping else _LAST_SECONDS)


async def _keep_sending(engine: Engine, client: NoticeClient, closing: asyncio.Event) -> None:
    """Until `closing`, and then until nothing is due. No fault in here may end the work on what was paid for."""
    while True:
        pause = _ASK_SECONDS
        try:
            if await _send_due(engine, client):
                continue
        except OutOfReach:  # raised only where we are asked to stop
            return
        except Exception:
            log.exception("sending notifications failed; trying again in %g s", _FAULT_SECONDS)
            pause = _FAULT_SECONDS
        if closing.is_set():
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(closing.wait(), pause)


async def _send_due(engine: Engine, client: NoticeClient) -> bool:
    claimed = await engine.transact(claim_notices, engine.scope.account_pk, _SLOTS)
    await asyncio.gather(*(_send(engine, client, notice) for notice in claimed))
    return bool(claimed)


async def _send(engine: Engine, client: NoticeClient, notice: ClaimedNotice) -> None:
    outcome = await client.send(
        Notice(notice.id, notice.url, notice.style, notice.event, notice.facts, notice.created_at)
    )
    if outcome.problem is None:
        await engine.transact(record_delivered, notice.id)
        return
    gives_up = outcome.is_final or notice.is_last_try
    await engine.transact(record_failed, notice, outcome.problem, gives_up=gives_up)
    if gives_up or notice.tries == 1:
        end = "given up" if gives_up else "trying again for a day"
        told = f"{notice.event} of {notice.batch_id}" if notice.batch_id else notice.event
        log.warning(
            "%s did not take the notification %s: %s; %s",
            host_of(notice.url),
            told,
            outcome.problem,
            end,
            extra=as_event(LogEvent.NOTICE_REFUSED, batch=notice.batch_id),
        )
