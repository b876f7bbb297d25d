"""The poll step: ask for the state of an accepted request, for up to 72 h, and move its items on."""

from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

from orchestrator.base.states import HoldCode, JobError, JobState
from orchestrator.engine.answers import is_stuck, job_error, read_outcomes
from orchestrator.engine.breaker import note_opening
from orchestrator.engine.charges import OpenItem
from orchestrator.engine.outcomes import record_answers
from orchestrator.engine.pacing import next_poll_seconds, retry_seconds
from orchestrator.engine.policy import KEPT_SECONDS, REFUSED_POLLS, Effect, PollRule, on_poll
from orchestrator.engine.runtime import Engine, log
from orchestrator.engine.tariff import Tariff
from orchestrator.katana.client import Polled
from orchestrator.katana.line import ProviderUnavailable
from orchestrator.katana.wire import Answer
from orchestrator.store import breaker, pacing, polling
from orchestrator.store.database import Connection, OutOfReach
from orchestrator.store.durations import newest_durations
from orchestrator.store.free_claims import ClaimedPoll, claim_polls
from orchestrator.store.holds import lift_holds, put_hold
from orchestrator.store.polling import ItemOutcome
from orchestrator.store.settling import settle_batch

LEASE_SECONDS = 180.0


async def claim(engine: Engine, limit: int) -> list[ClaimedPoll]:
    """Lease up to `limit` requests whose poll is due."""
    claimed = await engine.claim(claim_polls, seconds=LEASE_SECONDS, limit=limit)
    if claimed:
        await learn_times(engine)
    return claimed


async def learn_times(engine: Engine) -> None:
    """Look now and then how long the newest jobs took: that tells when to ask about the next ones."""
    if engine.poll_times.is_old():
        engine.poll_times.learn(await engine.transact(newest_durations, engine.scope.account_pk))


async def ask(engine: Engine, work: ClaimedPoll) -> None:
    """Poll one request and record what it says."""
    asked_at = engine.clock.monotonic()
    try:
        polled = await engine.client.poll(work.request_id)
    except ProviderUnavailable as error:
        if on_poll(error.status).effect is Effect.UNREACHED:
            engine.note_outage(error.reason)
        await engine.transact(_record_failure, engine, work, error)
    else:
        older = work.age_seconds + engine.clock.monotonic() - asked_at
        await _record(engine, replace(work, age_seconds=older), polled)


async def _record(engine: Engine, work: ClaimedPoll, polled: Polled) -> None:
    """An answer that we stumble over is asked for again: it must not stop the polls of all others."""
    try:
        await engine.together(_record_together, (work, polled.answer))
    except OutOfReach:
        raise
    except Exception as error:  # noqa: BLE001 - see above; the traceback is logged
        log.exception("request %s: its answer could not be recorded", work.request_id)
        fault = ProviderUnavailable(f"a fault of ours: {type(error).__name__}", status=200)
        await engine.transact(_record_failure, engine, work, fault)


async def _record_together(engine: Engine, answered: Sequence[tuple[ClaimedPoll, Answer]]) -> Sequence[None]:
    await engine.transact(_record_answers, engine, answered)
    for batch_id in sorted({work.batch_id for work, _ in answered if work.failures >= REFUSED_POLLS}):
        await engine.transact(_lift_refusal, batch_id)
    return [None] * len(answered)


def _lift_refusal(connection: Connection, batch_id: str) -> None:
    if lift_holds(connection, batch_id, (HoldCode.PROVIDER_REFUSING,)):
        settle_batch(connection, batch_id)  # no batch is held for a reason that is gone


def _record_answers(connection: Connection, engine: Engine, answered: Sequence[tuple[ClaimedPoll, Answer]]) -> None:
    breaker.note_poll_success(connection, engine.scope.account_pk)
    polls = {work.id: work for work, _ in answered}

    def read(of: UUID, answer: Answer, open_items: Sequence[OpenItem], tariff: Tariff) -> list[ItemOutcome]:
        return _outcomes(engine, polls[of], answer, open_items, tariff)

    still_open = record_answers(connection, {work.id: answer for work, answer in answered}, read)
    going_on = [(work, answer, still_open[work.id]) for work, answer in answered if work.id in still_open]
    polling.record_polls(connection, [_next_poll(engine, *it) for it in going_on])


def _outcomes(
    engine: Engine, work: ClaimedPoll, answer: Answer, open_items: Sequence[OpenItem], tariff: Tariff
) -> list[ItemOutcome]:
    patience_over = _is_patience_over(engine, work)
    outcomes = read_outcomes(answer, open_items, patience_over=patience_over, tariff=tariff)
    if not outcomes and work.age_seconds > KEPT_SECONDS:
        return _given_up(work, open_items, f"not finished within 72 h (last status: {answer.status})")
    return [replace(outcome, lease=work.token) for outcome in outcomes] if patience_over else outcomes


def _next_poll(engine: Engine, work: ClaimedPoll, answer: Answer, still_open: set[int]) -> polling.Poll:
    times = engine.poll_times.of(work.kind)
    return polling.Poll(
        work.id,
        work.token,
        provider_status=answer.status,
        nothing_there=is_stuck(answer, still_open),
        next_poll_seconds=next_poll_seconds(answer.poll_after_seconds, age_seconds=work.age_seconds, done_times=times),
    )


def _is_patience_over(engine: Engine, work: ClaimedPoll) -> bool:
    """Whether what is not there counts as lost. From whoever does not prove who asks, it may be hidden."""
    return engine.has_keys and (work.not_found_seconds or 0) >= engine.limits.request_lost_after_seconds


def _record_failure(connection: Connection, engine: Engine, work: ClaimedPoll, error: ProviderUnavailable) -> None:
    rule = on_poll(error.status)
    not_found = error.status == 404
    lost = not_found and _is_patience_over(engine, work)
    if lost or work.age_seconds > rule.patience_seconds:
        open_items = polling.open_items(connection, [work.id])[work.id]
        lost_items = _given_up(work, open_items, f"the provider does not give it out: {error}")
        polling.record_outcomes(connection, {work.id: lost_items})
        polling.resolve_finished(connection, {work.id: None})
        return
    _follow(connection, engine, rule, error)
    if rule.hold is not None and work.failures + 1 >= rule.hold_after:
        log.warning("batch %s: the provider refuses polls (%s)", work.batch_id, error.reason)
        message = f"the provider refuses our polls ({error.reason}); what was paid for cannot be fetched"
        put_hold(connection, work.batch_id, rule.hold, message, f"orchestrator resume {work.batch_id}")
    wait = retry_seconds(work.failures, first=rule.first_seconds, longest=rule.longest_seconds)
    polling.record_poll_failure(
        connection, work.id, work.token, not_found=not_found, reason=error.reason, next_poll_seconds=wait
    )


def _follow(connection: Connection, engine: Engine, rule: PollRule, error: ProviderUnavailable) -> None:
    """Let the pace and the breaker follow a poll that did not work."""
    account_pk, most = engine.scope.account_pk, engine.limits.max_in_flight
    if rule.effect is Effect.SLOWER:
        wish = error.retry_after_seconds
        pacing.slow_down(connection, account_pk, pacing.WHOLE_ACCOUNT, retry_after_seconds=wish, max_in_flight=most)
    elif rule.effect is Effect.UNREACHED:
        note_opening(breaker.note_poll_failure(connection, account_pk), error.reason)


def _given_up(work: ClaimedPoll, open_items: Sequence[OpenItem], reason: str) -> list[ItemOutcome]:
    """The request is lost and what it cost is spent: so we say, unless another has asked about it meanwhile."""
    error = job_error(JobError.REQUEST_LOST, reason, charged=True)
    return [
        ItemOutcome(position, JobState.FAILED, price, error=error, is_told=False, lease=work.token)
        for position, price in open_items
    ]
