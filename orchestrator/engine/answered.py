"""What was answered to a POST, written down: a request id first and by itself, then all else that the answer says."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from orchestrator.base.states import HoldCode, JobState, SubmissionState
from orchestrator.engine.answers import is_final, job_error, read_outcomes
from orchestrator.engine.breaker import note_opening
from orchestrator.engine.charges import OpenItem
from orchestrator.engine.outcomes import record_answers
from orchestrator.engine.pacing import first_poll_seconds
from orchestrator.engine.policy import Effect, PostRule, filed_under, on_post
from orchestrator.engine.runtime import Engine, log
from orchestrator.engine.shortfall import hold_for_balance
from orchestrator.engine.tariff import Tariff
from orchestrator.engine.text import record_text
from orchestrator.katana.verdict import Kind, Verdict
from orchestrator.katana.wire import Answer
from orchestrator.katana.x402 import receipt_of
from orchestrator.receipts.receipt import Order, Receipt
from orchestrator.store import breaker, pacing, sending
from orchestrator.store.batches import lock_batch
from orchestrator.store.claims import ClaimedSubmission
from orchestrator.store.database import Connection, OutOfReach
from orchestrator.store.durations import JobKind
from orchestrator.store.holds import put_hold
from orchestrator.store.polling import ItemOutcome
from orchestrator.store.replaying import Posted
from orchestrator.store.settling import note_doubt
from orchestrator.store.terms import payment_of

#: What was sent, and what was answered.
Answered = tuple[Posted, Verdict]
#: From this many lost answers in a row on the provider is taken for overloaded.
RUN_OF_LOST_ANSWERS = 2


def receipt(engine: Engine, order: Order, verdict: Verdict) -> Receipt | None:
    """What is certain after an answer; None: nothing is.

    Of a text it stays that it was sent: by the id of its answer nothing could be fetched.
    """
    if verdict.kind in (Kind.NOT_SENT, Kind.REFUSED):
        return Receipt.not_charged(order)
    return receipt_of_request(engine, order, verdict)


def receipt_of_request(engine: Engine, order: Order, verdict: Verdict) -> Receipt | None:
    """That an order became a request, where the answer names one."""
    if verdict.completion is not None or verdict.answer is None or verdict.answer.request_id is None:
        return None
    return Receipt(at=engine.clock.now(), request_id=verdict.answer.request_id, order=order)


async def record(engine: Engine, work: ClaimedSubmission, verdict: Verdict) -> None:
    """Write down what became of a POST, and what follows for its jobs and its batch."""
    rule = on_post(verdict)
    if rule.effect is Effect.UNREACHED and not verdict.is_late:
        engine.note_outage(verdict.reason)
    with told_if_lost(work, verdict):
        if rule.becomes is JobState.GENERATING:
            await record_taken(engine, work, verdict)
        else:
            await engine.persist(_record_refused, engine, work, verdict, rule)


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
    if not await engine.together(_take_together, (work, verdict)):
        await _doubt_request(engine, work, verdict)
    await _follow_up(engine, work, verdict)


async def _doubt_request(engine: Engine, work: Posted, verdict: Verdict) -> None:
    request_id = verdict.answer.request_id if verdict.answer else None
    log.warning("submission %s: request %s is another's, or it was settled before", work.id, request_id)
    reason = {"reason": f"the provider named the request {request_id}, which is another submission's"}
    await engine.persist(record_doubt, work, verdict.document() | reason)
    await engine.compare_receipts()  # is it unknown because the database was put back?


async def _take_together(engine: Engine, answered: Sequence[Answered]) -> list[bool]:
    taken = await engine.persist(_record_requests, engine, answered)
    return [work.id in taken for work, _ in answered]


def _record_requests(connection: Connection, engine: Engine, answered: Sequence[Answered]) -> set[UUID]:
    return sending.record_accepted(connection, [_acceptance(engine, *it) for it in answered])


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


async def _follow_up(engine: Engine, work: Posted, verdict: Verdict) -> None:
    """What else an accepted answer says is asked for again where we stumble over it: the request id is committed."""
    try:
        await engine.together(_follow_together, (work, verdict))
    except OutOfReach:
        raise
    except Exception:  # noqa: BLE001 - see above; the traceback is logged
        log.exception("submission %s: the rest of its answer could not be recorded; it is polled", work.id)


async def _follow_together(engine: Engine, answered: Sequence[Answered]) -> Sequence[None]:
    await engine.persist(_record_words, engine, answered)
    return [None] * len(answered)


def _record_words(connection: Connection, engine: Engine, answered: Sequence[Answered]) -> None:
    """What accepted POSTs say besides: that we may go faster, and of some items perhaps the final word already."""
    for model, posts in Counter(work.model for work, _ in answered).items():
        pace = engine.limits.max_in_flight
        pacing.speed_up(connection, engine.scope.account_pk, model, posts=posts, max_in_flight=pace)
    breaker.note_success(connection, engine.scope.account_pk)
    answers = {work.id: it.answer for work, it in answered if it.answer is not None and is_final(it.answer)}
    if answers:
        record_answers(connection, answers, _read)


def _read(_: UUID, answer: Answer, open_items: Sequence[OpenItem], tariff: Tariff) -> list[ItemOutcome]:
    return read_outcomes(answer, open_items, patience_over=False, tariff=tariff)


def _record_refused(
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
    """Put the batch on hold where the rule says so."""
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
    if verdict.is_late:
        return
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
