"""The submit step: claimed work is sent once, and what became of it is written down.

1. `claim`: one transaction reserves the money and writes the submission as `intended`.
2. `send`: build the exact bytes, commit `sent`, leave a receipt that says so outside the database, and only then let
   them leave.
3. Leave a receipt of its request id, or that it was not charged, and record the verdict.

Killed before 2, the work is pending again; killed after it, it is in doubt until a receipt or evidence tells.
"""

import asyncio
import functools
import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

from orchestrator.assets.errors import AssetError, MediaMissing
from orchestrator.base.errors import Unusable
from orchestrator.base.states import HoldCode, JobError, JobState, SubmissionState
from orchestrator.engine.answers import job_error, read_outcomes
from orchestrator.engine.bodies import call_for, has_media, submission_body
from orchestrator.engine.breaker import note_opening
from orchestrator.engine.pacing import first_poll_seconds
from orchestrator.engine.policy import MEDIA_RETRY_SECONDS, Effect, PostRule, filed_under, on_post
from orchestrator.engine.poll import learn_times
from orchestrator.engine.reconcile import take_baseline
from orchestrator.engine.runtime import Engine, log
from orchestrator.engine.shortfall import hold_for_balance
from orchestrator.engine.tariff import tariffs_of
from orchestrator.engine.text import record_text
from orchestrator.katana.client import PAY_DEADLINE_SECONDS
from orchestrator.katana.verdict import Kind, Verdict
from orchestrator.katana.x402 import receipt_of
from orchestrator.receipts.receipt import Order, Receipt
from orchestrator.store import breaker, pacing, polling, sending
from orchestrator.store.batches import lock_batch
from orchestrator.store.claims import ClaimedSubmission, claim_submissions
from orchestrator.store.database import Connection, OutOfReach
from orchestrator.store.durations import JobKind
from orchestrator.store.holds import put_hold
from orchestrator.store.orders import orders_of
from orchestrator.store.replaying import Posted
from orchestrator.store.settling import note_doubt
from orchestrator.store.terms import payment_of

#: What was sent, and what was answered.
Answered = tuple[Posted, Verdict]
#: Longer than the longest POST, with room for what is committed around it.
LEASE_SECONDS = PAY_DEADLINE_SECONDS + 120
#: What was not sent so long after it was marked as sent never is: others may judge by then what became of it.
SEND_WITHIN = timedelta(seconds=60)
#: When what could not leave for want of a receipt is due again.
RECEIPT_RETRY_SECONDS = 2.0
#: How often a fault of ours is met again before its job is put aside, and when.
OUR_FAULT_TRIES = 3
OUR_FAULT_RETRY_SECONDS = 2.0
#: From this many lost answers in a row on the provider is taken for overloaded.
RUN_OF_LOST_ANSWERS = 2


async def claim(engine: Engine, limit: int) -> list[ClaimedSubmission]:
    """Write the intents of up to `limit` due jobs."""
    if not await engine.may_buy():
        return []
    await take_baseline(engine)
    most_jobs = engine.limits.max_in_flight
    claimed = await engine.claim(claim_submissions, seconds=LEASE_SECONDS, limit=limit, max_in_flight=most_jobs)
    if claimed:
        await learn_times(engine)
    return claimed


async def send(engine: Engine, work: ClaimedSubmission) -> None:
    """Send one claimed submission and record what became of it."""
    body = await make_ready(engine, work)
    if body is None:
        return
    departure = sending.Departure(work.id, work.token, hashlib.sha256(body).hexdigest())
    send_before = engine.clock.now() + SEND_WITHIN
    try:
        order, has_receipt = await engine.together(_depart, departure)
    except OutOfReach:
        raise
    except Unusable:
        await take_back(engine, work, "the database is behind its receipts", retry_in_seconds=0)
        raise
    if order is None:
        await take_back_unwanted(engine, work)
        return
    if not has_receipt:
        await return_unsent(engine, work, "its receipt could not be written")
        return
    call, items = call_for(work.items), len(work.jobs)
    verdict = await engine.client.submit(body, call=call, item_count=items, send_before=send_before)
    await engine.together(_keep_receipts, _receipt(engine, order, verdict))
    await _record_verdict(engine, work, verdict)


async def _depart(engine: Engine, departures: Sequence[sending.Departure]) -> list[tuple[Order | None, bool]]:
    """Of each the order, once it is written that it is sent (None: it may not be), and whether that has a receipt."""
    await (
        engine.may_buy()
    )  # since they were claimed, a backup may have been put back that knows nothing of what is paid
    orders = await engine.transact(_mark_sent, departures)
    has_receipts = await engine.keep_receipts(*map(Receipt.sent, orders.values()))
    return [(orders.get(departure.id), has_receipts) for departure in departures]


async def _keep_receipts(engine: Engine, receipts: Sequence[Receipt | None]) -> Sequence[bool]:
    is_kept = await engine.keep_receipts(*filter(None, receipts))
    return [is_kept] * len(receipts)


async def make_ready(engine: Engine, work: ClaimedSubmission) -> bytes | None:
    """The exact bytes of a submission that may go; None where it was dealt with: it cannot, or not now."""
    try:
        body = await body_of(engine, work.media, work.items)
    except AssetError as error:
        await _put_off(engine, work, error)
        return None
    except Exception as error:  # noqa: BLE001 - a fault of ours in one job must not stop the sending of all others
        log.exception("jobs %s of %s: no request could be made of them", [job.name for job in work.jobs], work.batch_id)
        await _put_aside(engine, work, f"a fault of ours: {type(error).__name__}")
        return None
    engine.media_failing_since.pop(work.batch_id, None)
    if engine.stopping:
        await take_back(engine, work, "stopped before it was sent", retry_in_seconds=0)
        return None
    return body


async def body_of(engine: Engine, media: str, items: list[dict[str, Any]]) -> bytes:
    """The exact bytes to send for stored items; their files are read in a thread. Raises AssetError."""
    read_media = functools.partial(engine.read_media, media)
    if has_media(items):
        return await asyncio.to_thread(submission_body, items, read_media)
    return submission_body(items, read_media)


def _receipt(engine: Engine, order: Order, verdict: Verdict) -> Receipt | None:
    """What is certain after an answer; None: nothing is.

    Of a text it stays that it was sent: by the id of its answer nothing could be fetched.
    """
    if verdict.completion is None and verdict.answer is not None and verdict.answer.request_id is not None:
        return Receipt(at=engine.clock.now(), request_id=verdict.answer.request_id, order=order)
    return Receipt.not_charged(order) if verdict.kind in (Kind.NOT_SENT, Kind.REFUSED) else None


def _mark_sent(connection: Connection, departures: Sequence[sending.Departure]) -> dict[UUID, Order]:
    """What is bought, once it is written that it is; without what may not be sent any more."""
    return orders_of(connection, sending.mark_sent(connection, departures, lease_seconds=LEASE_SECONDS))


async def _record_verdict(engine: Engine, work: ClaimedSubmission, verdict: Verdict) -> None:
    rule = on_post(verdict)
    if rule.effect is Effect.UNREACHED:
        engine.note_outage(verdict.reason)
    with told_if_lost(work, verdict):
        if rule.becomes is JobState.GENERATING:
            await record_taken(engine, work, verdict)
        else:
            await engine.persist(_record_other, engine, work, verdict, rule)


@contextmanager
def told_if_lost(work: Posted, verdict: Verdict) -> Iterator[None]:
    """Say which answer it was that could not be recorded."""
    heard = verdict.answer.request_id if verdict.answer else verdict.heard_request_id
    try:
        yield
    except Exception:
        log.critical("submission %s: its answer (request id %s) could not be recorded", work.id, heard)
        raise


async def record_taken(engine: Engine, work: Posted, verdict: Verdict) -> None:
    """Commit a request id by itself and first: nothing else that the answer says may stand in its way."""
    if verdict.completion is not None:
        if not await engine.persist(_record_completion, engine, work, verdict):
            await engine.compare_receipts()
        return
    if not await engine.together(_take, (work, verdict)):
        await engine.compare_receipts()  # is it unknown because the database was put back?
    await _record_rest(engine, work, verdict)


async def _take(engine: Engine, answered: Sequence[Answered]) -> list[bool]:
    taken = await engine.persist(_record_accepted, engine, answered)
    return [work.id in taken for work, _ in answered]


async def _record_rest(engine: Engine, work: Posted, verdict: Verdict) -> None:
    """What else an accepted answer says is asked for again where we stumble over it: the request id is committed."""
    try:
        await engine.together(_take_rest, (work, verdict))
    except OutOfReach:
        raise
    except Exception:  # noqa: BLE001 - see above; the traceback is logged
        log.exception("submission %s: the rest of its answer could not be recorded; it is polled", work.id)


async def _take_rest(engine: Engine, answered: Sequence[Answered]) -> Sequence[None]:
    await engine.persist(_record_outcomes, engine, answered)
    return [None] * len(answered)


async def _put_off(engine: Engine, work: ClaimedSubmission, error: AssetError) -> None:
    """Input media cannot be read: another worker may have them, or they come back; only after long they are lost."""
    now = engine.clock.monotonic()
    lasted = now - engine.media_failing_since.setdefault(work.batch_id, now)
    if isinstance(error, MediaMissing) and lasted >= engine.limits.stall_after_seconds:
        await _reject_unsendable(engine, work, JobError.MEDIA_MISSING, error.message)
        return
    log.warning("the input media of %s cannot be read now: %s", work.batch_id, error.message)
    await take_back(engine, work, error.message, retry_in_seconds=MEDIA_RETRY_SECONDS)


async def _put_aside(engine: Engine, work: ClaimedSubmission, reason: str) -> None:
    """What we stumble over again and again is rejected, so that its batch goes on; nothing of it was sent."""
    pks = [job.pk for job in work.jobs]
    engine.send_faults.update(pks)
    if max(engine.send_faults[pk] for pk in pks) >= OUR_FAULT_TRIES:
        await _reject_unsendable(engine, work, JobError.UNKNOWN, reason)
    else:
        await take_back(engine, work, reason, retry_in_seconds=OUR_FAULT_RETRY_SECONDS)


async def look_again(engine: Engine, work: ClaimedSubmission) -> None:
    """Since it was claimed, a backup may have been put back, which does not know what is paid for. Raises Unusable."""
    try:
        await engine.may_buy()
    except Unusable:
        await take_back(engine, work, "the database is behind its receipts", retry_in_seconds=0)
        raise


async def take_back_unwanted(engine: Engine, work: ClaimedSubmission) -> None:
    """What may not be sent any more goes back; nothing of it left."""
    log.info("submission %s was not sent: paused, cancelled, or its lease is gone", work.id)
    await take_back(engine, work, "paused or cancelled before it was sent", retry_in_seconds=0)


async def take_back(engine: Engine, work: ClaimedSubmission, reason: str, *, retry_in_seconds: float) -> None:
    """An intent of which nothing left goes back; its jobs are due again in so many seconds."""
    await engine.transact(sending.take_back, work.id, work.token, reason=reason, retry_in_seconds=retry_in_seconds)


async def return_unsent(engine: Engine, work: ClaimedSubmission, reason: str) -> None:
    """What is marked as sent goes back: none of its bytes left."""
    await engine.persist(
        sending.record_returned,
        work.id,
        work.token,
        end=SubmissionState.NOT_SENT,
        answer={"verdict": Kind.NOT_SENT, "reason": reason},
        retry_in_seconds=RECEIPT_RETRY_SECONDS,
    )


async def _reject_unsendable(engine: Engine, work: ClaimedSubmission, code: JobError, reason: str) -> None:
    await engine.transact(
        sending.record_rejected,
        work.id,
        work.token,
        end=SubmissionState.NOT_SENT,
        answer={"verdict": Kind.NOT_SENT, "reason": reason},
        error=job_error(code, reason, charged=False),
    )


def _record_accepted(connection: Connection, engine: Engine, answered: Sequence[Answered]) -> set[UUID]:
    taken = sending.record_accepted(connection, [_acceptance(engine, *it) for it in answered])
    for work, verdict in answered:
        if work.id not in taken:
            request_id = verdict.answer.request_id if verdict.answer else None
            log.warning("submission %s: request %s is another's, or it was settled before", work.id, request_id)
            reason = {"reason": f"the provider named the request {request_id}, which is another submission's"}
            record_doubt(connection, work, verdict.document() | reason)
    return taken


def _acceptance(engine: Engine, work: Posted, verdict: Verdict) -> sending.Acceptance:
    answer = verdict.answer
    assert answer is not None
    assert answer.request_id is not None
    return sending.Acceptance(
        work.id,
        request_id=answer.request_id,
        provider_status=answer.status,
        answer=verdict.document(),
        poll_in_seconds=first_poll_seconds(answer.poll_after_seconds, engine.poll_times.of(_kind(work))),
        settlement=receipt_of(verdict.settlement),
    )


def _kind(work: Posted) -> JobKind:
    """As the rows say it of the first of its jobs."""
    duration = work.items[0].get("duration_seconds")
    return JobKind(work.model, None if duration is None else str(duration))


def _record_completion(connection: Connection, engine: Engine, work: Posted, verdict: Verdict) -> bool:
    """A text, its charge and its end in one transaction: nobody can ask for it again."""
    follow(connection, engine, work, verdict, Effect.FASTER)
    return record_text(connection, work, verdict)


def _record_outcomes(connection: Connection, engine: Engine, answered: Sequence[Answered]) -> None:
    """What accepted POSTs say besides: that we may go faster, and of some items perhaps the final word already."""
    for model, posts in Counter(work.model for work, _ in answered).items():
        pace = engine.limits.max_in_flight
        pacing.speed_up(connection, engine.scope.account_pk, model, posts=posts, max_in_flight=pace)
    breaker.note_success(connection, engine.scope.account_pk)
    answers = {work.id: verdict.answer for work, verdict in answered if verdict.answer is not None}
    tariffs = tariffs_of(connection, answers)
    open_items = polling.open_items(connection, answers)
    outcomes = {
        of: read_outcomes(answer, open_items[of], patience_over=False, tariff=tariffs[of])
        for of, answer in answers.items()
    }
    polling.record_outcomes(connection, outcomes)
    polling.resolve_finished(connection, {of: answers[of].status for of, found in outcomes.items() if found})


def _record_other(
    connection: Connection, engine: Engine, work: ClaimedSubmission, verdict: Verdict, rule: PostRule
) -> None:
    """The account's row first, then the batch's, then the submission's: the order of all locks."""
    follow(connection, engine, work, verdict, rule.effect)
    hold(connection, work, verdict, rule)
    end = SubmissionState.NOT_SENT if verdict.kind is Kind.NOT_SENT else SubmissionState.REFUSED
    document = verdict.document()
    match rule.becomes:
        case JobState.PENDING:
            wait = rule.again_seconds or 0
            sending.record_returned(connection, work.id, work.token, end=end, answer=document, retry_in_seconds=wait)
        case JobState.REJECTED:
            error = job_error(filed_under(verdict), verdict.reason, charged=False, provider=verdict.problem)
            sending.record_rejected(connection, work.id, work.token, end=end, answer=document, error=error)
        case _:
            log.warning("submission %s: %s; its job is in doubt and is not sent again", work.id, verdict.reason)
            record_doubt(connection, work, document)


def hold(connection: Connection, work: ClaimedSubmission, verdict: Verdict, rule: PostRule) -> None:
    payment = payment_of(connection, work.id)
    if rule.hold is HoldCode.BALANCE_LOW and payment.is_wallet:
        hold_for_balance(connection, work, payment, verdict)
    elif rule.hold is not None:
        message = f"{rule.why} ({verdict.reason})"
        put_hold(connection, work.batch_id, rule.hold, message, f"orchestrator resume {work.batch_id}")


def record_doubt(connection: Connection, work: Posted, answer: dict[str, Any]) -> None:
    """Too much in doubt stops the sending at once; the lock, so that of two that come at once each is counted."""
    lock_batch(connection, work.batch_id)
    sending.record_unknown(connection, work.id, work.token, answer)
    note_doubt(connection, work.batch_id)


def follow(connection: Connection, engine: Engine, work: Posted, verdict: Verdict, effect: Effect) -> None:
    """Let the pace and the breaker follow an answer."""
    account_pk, most = engine.scope.account_pk, engine.limits.max_in_flight
    slower = effect in (Effect.SLOWER, Effect.OVERLOADED)
    if effect in (Effect.FASTER, Effect.ANSWERED):
        breaker.note_success(connection, account_pk)
    elif effect is not Effect.SLOWER:
        run = breaker.note_failure(connection, account_pk, work.id, is_lost=effect is not Effect.UNREACHED)
        note_opening(run, verdict.reason)
        slower = slower or (effect is Effect.UNANSWERED and run >= RUN_OF_LOST_ANSWERS)
    if effect is Effect.FASTER:
        pacing.speed_up(connection, account_pk, work.model, max_in_flight=most)
    if slower:
        pacing.slow_down(
            connection,
            account_pk,
            work.model,
            retry_after_seconds=verdict.retry_after_seconds,
            max_in_flight=most,
            submission_id=work.id,
        )
