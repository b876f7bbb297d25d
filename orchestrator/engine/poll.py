"""The poll step: ask for the state of an accepted request, for up to 72 h, and move its items on."""

from decimal import Decimal

from orchestrator.base.states import HoldCode, JobError, JobState
from orchestrator.engine.answers import is_stuck, job_error, read_outcomes
from orchestrator.engine.pacing import next_poll_seconds, retry_seconds
from orchestrator.engine.runtime import Engine, log
from orchestrator.katana.client import Polled, ProviderUnavailable
from orchestrator.store import polling, sending
from orchestrator.store.database import Connection, OutOfReach
from orchestrator.store.free_claims import ClaimedPoll, claim_polls
from orchestrator.store.holds import lift_holds, put_hold
from orchestrator.store.polling import ItemOutcome

#: The provider keeps results at most this long (guide, "Service URLs and Account Setup").
PATIENCE_SECONDS = 72 * 3600.0
#: A provider that could not be asked at all in that time is asked for this much longer.
BLIND_GRACE_SECONDS = 24 * 3600.0
LEASE_SECONDS = 180.0
#: So many refused polls in a row are no mishap of a proxy on the way.
REFUSED_POLLS = 5


async def claim(engine: Engine, limit: int) -> list[ClaimedPoll]:
    """Lease up to `limit` requests whose poll is due."""
    owner = await engine.owner()
    return await engine.transact(claim_polls, engine.scope, owner=owner, lease_seconds=LEASE_SECONDS, limit=limit)


async def ask(engine: Engine, work: ClaimedPoll) -> None:
    """Poll one request and record what it says."""
    try:
        polled = await engine.client.poll(work.request_id)
    except ProviderUnavailable as error:
        if error.status is None or error.status >= 500:
            engine.note_outage(error.reason)
        await engine.transact(_record_failure, engine, work, error)
    else:
        await _record(engine, work, polled)


async def _record(engine: Engine, work: ClaimedPoll, polled: Polled) -> None:
    """An answer that we stumble over is asked for again: it must not stop the polls of all others."""
    try:
        await engine.transact(_record_answer, engine, work, polled)
    except OutOfReach:
        raise
    except Exception as error:  # noqa: BLE001 - see above; the traceback is logged
        log.exception("request %s: its answer could not be recorded", work.request_id)
        fault = ProviderUnavailable(f"a fault of ours: {type(error).__name__}")
        await engine.transact(_record_failure, engine, work, fault)


def _record_answer(connection: Connection, engine: Engine, work: ClaimedPoll, polled: Polled) -> None:
    answer = polled.answer
    patience_over = (work.not_found_seconds or 0) >= engine.limits.request_lost_after_seconds
    if work.failures >= REFUSED_POLLS:
        lift_holds(connection, work.batch_id, (HoldCode.PROVIDER_REFUSING,))
    open_items = polling.open_items(connection, work.id)
    outcomes = read_outcomes(answer, open_items, patience_over=patience_over)
    if not outcomes and work.age_seconds > PATIENCE_SECONDS:
        outcomes = _given_up(open_items, f"not finished within 72 h (last status: {answer.status})")
    polling.record_outcomes(connection, work.id, outcomes)
    if not polling.resolve_finished(connection, work.id, answer.status):
        wait = next_poll_seconds(answer.poll_after_seconds, age_seconds=work.age_seconds)
        polling.record_poll(
            connection,
            work.id,
            work.token,
            provider_status=answer.status,
            nothing_there=is_stuck(answer, {position for position, _ in open_items} - {o.position for o in outcomes}),
            next_poll_seconds=wait,
        )


def _record_failure(connection: Connection, engine: Engine, work: ClaimedPoll, error: ProviderUnavailable) -> None:
    not_found = error.status == 404
    lost = not_found and (work.not_found_seconds or 0) >= engine.limits.request_lost_after_seconds
    if lost or work.age_seconds > PATIENCE_SECONDS + (0 if not_found else BLIND_GRACE_SECONDS):
        lost_items = _given_up(polling.open_items(connection, work.id), f"the provider does not give it out: {error}")
        polling.record_outcomes(connection, work.id, lost_items)
        polling.resolve_finished(connection, work.id, None)
        return
    wait = retry_seconds(work.failures, first=1.0, longest=30.0)
    if error.status == 429:
        sending.slow_down(connection, engine.scope.account_pk, error.retry_after_seconds)
    elif error.status in (401, 403) and work.failures + 1 >= REFUSED_POLLS:
        log.warning("batch %s: the provider refuses polls (%s)", work.batch_id, error.reason)
        message = f"the provider refuses our polls ({error.reason}); what was paid for cannot be fetched"
        put_hold(connection, work.batch_id, HoldCode.PROVIDER_REFUSING, message, f"orchestrator resume {work.batch_id}")
    polling.record_poll_failure(
        connection, work.id, work.token, not_found=not_found, reason=error.reason, next_poll_seconds=wait
    )


def _given_up(open_items: list[tuple[int, Decimal]], reason: str) -> list[ItemOutcome]:
    """The request is lost and what it cost is spent."""
    error = job_error(JobError.REQUEST_LOST, reason, charged=True)
    return [ItemOutcome(position, JobState.FAILED, price, error=error, is_told=False) for position, price in open_items]
