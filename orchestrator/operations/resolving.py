"""`resolve`: a person settles a job whose payment is in doubt, or all that is of a batch. Buys nothing and needs no
credentials: with them, the provider is asked about a request id before it is taken.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID

from orchestrator.base.clock import rfc3339
from orchestrator.base.errors import SpendRefused, UsageError
from orchestrator.base.money import canonical
from orchestrator.base.settings import Settings
from orchestrator.base.states import BatchState, PaymentState, SettledBy
from orchestrator.engine import evidence as balance_evidence
from orchestrator.operations.asking import is_told
from orchestrator.operations.database import open_database
from orchestrator.operations.opening import SANDBOX_ORIGIN
from orchestrator.receipts.book import ReceiptBook
from orchestrator.receipts.receipt import Receipt
from orchestrator.store import (
    batches,
    chains,
    creating,
    doubtful,
    doubts,
    payments,
    reads,
    resolving,
    sending,
    settling,
    unproven,
)
from orchestrator.store.database import Connection, Database
from orchestrator.store.doubtful import Doubtful
from orchestrator.store.orders import order_of
from orchestrator.store.paid import payment_of
from orchestrator.store.units import account_unit

#: Told the evidence of each submission before anything is settled.
ShowEvidence = Callable[[dict[str, Any]], None]
#: Whether to settle it, asked once all the evidence was shown.
Confirm = Callable[[], bool]
#: What a person says became of a payment.
Outcome = Literal["charged", "not-charged"]
#: The same, or the request that the payment was for.
Said = Outcome | UUID


def resolve(
    reference: str,
    job: str,
    settings: Settings,
    said: Said,
    *,
    show_evidence: ShowEvidence | None = None,
    confirm: Confirm | None = None,
) -> dict[str, Any]:
    """Settle the submission of a job in doubt, with all jobs that were sent with it; returns the batch's document.

    `said` charged: they are `failed` and their price is lost. Not charged: they are `pending` again, also where they
    had been taken for charged; workers or `resume` send them. A request id that was found by hand: they are
    `generating` and polled; the provider is asked about it first, where it can be, and as long as it has told nothing
    of it, another word may be said. Of not charged, and of a request that the provider knows, a receipt is left.
    Raises UsageError for what is not in doubt, and for a request that is another's or not known; ReceiptFailed and,
    where `confirm` says no, SpendRefused, with nothing settled.
    """
    with open_database(settings) as database:
        with database.begin() as connection:
            batch_id = batches.find_batch(connection, reference)
            doubt = doubtful.find_doubtful(connection, batch_id, job)
            shown = evidence_document(connection, doubt)
            catalog = creating.batch_catalog(connection, batch_id)
            header = reads.batch_header(connection, batch_id)
            if isinstance(said, UUID):
                _require_free(connection, doubt, job, str(said))
        _show(show_evidence, confirm, [shown])
        told = isinstance(said, UUID) and is_told(settings, header, catalog, str(said), doubt.items)
        return _settle_them(database, settings, batch_id, {job: (doubt, shown)}, said, told=told)


def resolve_all(
    reference: str,
    settings: Settings,
    said: Outcome,
    *,
    show_evidence: ShowEvidence | None = None,
    confirm: Confirm | None = None,
) -> dict[str, Any]:
    """Settle all that is in doubt in a batch as `resolve` does, or nothing of it; returns the batch's document."""
    with open_database(settings) as database:
        with database.begin() as connection:
            batch_id = batches.find_batch(connection, reference)
            found = {
                job: doubtful.find_doubtful(connection, batch_id, job) for job in doubtful.named(connection, batch_id)
            }
            if not found:
                raise UsageError(f"nothing of {batch_id} is in doubt", hint=f"orchestrator status {batch_id}")
            shown = {job: (doubt, evidence_document(connection, doubt)) for job, doubt in found.items()}
        _show(show_evidence, confirm, [document for _, document in shown.values()])
        return _settle_them(database, settings, batch_id, shown, said)


def _show(show_evidence: ShowEvidence | None, confirm: Confirm | None, shown: Sequence[dict[str, Any]]) -> None:
    """The evidence first, then the question. Raises SpendRefused."""
    if show_evidence is not None:
        for document in shown:
            show_evidence(document)
    if confirm is not None and not confirm():
        raise SpendRefused("not confirmed; nothing was settled")


def _settle_them(
    database: Database,
    settings: Settings,
    batch_id: str,
    found: Mapping[str, tuple[Doubtful, dict[str, Any]]],
    said: Said,
    *,
    told: bool = False,
) -> dict[str, Any]:
    """Settle submissions (by a job of each), with the evidence that was shown of them, in one transaction."""
    with database.begin() as connection:
        word = {"by": settings.actor, "at": reads.now(connection), "said": str(said), "told": told}
        batch = batches.lock_batch(connection, batch_id)
        for job, (doubt, shown) in found.items():
            _settle(connection, doubt, job, said, word | {"shown": shown})
            if said == "not-charged" or told:
                _leave_receipt(connection, settings, doubt.submission_id, said)
        if batch.state == BatchState.CANCELLED:
            settling.cancel_unsent(connection, batch_id)
        batches.reopen_batch(connection, batch_id)
        chains.pass_on_all_ends(connection, batch_id)
        settling.settle_batch(connection, batch_id)
        return reads.batch_document(connection, batch_id)


def evidence_document(connection: Connection, doubt: Doubtful) -> dict[str, Any]:
    """All that is known about a submission in doubt, in JSON."""
    others, amount = doubtful.others_in_doubt(connection, doubt)
    unit = account_unit(connection, doubt.account_pk)
    return {
        "submission": str(doubt.submission_id),
        "jobs": list(doubt.jobs),
        "unit": unit,
        unit.value: canonical(doubt.credits),
        "sent_at": rfc3339(doubt.sent_at),
        "answer": doubt.answer.get("reason"),
        "heard_request_id": doubt.answer.get("heard_request_id"),
        "counted_as_charged": doubt.is_written_off,
        "others_in_doubt": {"submissions": others, unit.value: canonical(amount)},
        "payment": payment_of(connection, doubt.submission_id),
        "balance": _balance(connection, doubt),
        "before": doubt.evidence if doubt.is_written_off else None,
    }


def _balance(connection: Connection, doubt: Doubtful) -> dict[str, Any] | None:
    """What readings of the balance say of it: the judgement that was passed on it, else what they would say now."""
    if doubt.is_written_off:
        return None
    if doubt.evidence is not None:
        return doubt.evidence
    known = doubts.situation(connection, doubt.account_pk)
    return None if known is None else balance_evidence.document(known, balance_evidence.judge(known))


def _settle(connection: Connection, doubt: Doubtful, job: str, said: Said, evidence: dict[str, Any]) -> None:
    if isinstance(said, UUID):
        _require_free(connection, doubt, job, str(said))
        settled = _accept(connection, doubt, str(said), evidence)
    elif doubt.is_unproven:
        settled = _withdraw(connection, doubt, job, said, evidence)
    elif said == "not-charged":
        _require_unpaid(connection, doubt, job)
        take_back = resolving.take_back_loss if doubt.is_written_off else _settle_as_not_charged
        settled = take_back(connection, doubt.submission_id, evidence)
    elif doubt.is_written_off:
        raise UsageError(f"job {job} of {doubt.batch_id} counts as charged already")
    else:
        settled = resolving.settle_as_charged(connection, doubt.submission_id, SettledBy.PERSON, evidence)
    if not settled:
        raise UsageError(
            f"job {job} of {doubt.batch_id} was settled meanwhile", hint=f"orchestrator jobs {doubt.batch_id}"
        )


def _require_unpaid(connection: Connection, doubt: Doubtful, job: str) -> None:
    """Raises UsageError where a signed payment says otherwise: what is sent anew would be paid for twice."""
    payment = payment_of(connection, doubt.submission_id) or {"state": PaymentState.VOID}
    if payment["state"] == PaymentState.SETTLED:
        raise UsageError(
            f"job {job} of {doubt.batch_id} was charged: its payment has settled",
            hint=f"look at the transaction {payment['transaction'] or '(its id is not known)'}",
        )
    if payment["state"] == PaymentState.SIGNED and not payments.is_untold(connection, doubt.submission_id):
        raise UsageError(
            f"the signed payment of job {job} of {doubt.batch_id} may still settle, or has",
            hint=f"its chain tells once the payment is too old: orchestrator resume {doubt.batch_id}",
        )


def _settle_as_not_charged(connection: Connection, submission_id: UUID, evidence: dict[str, Any]) -> bool:
    return resolving.settle_as_not_charged(connection, submission_id, SettledBy.PERSON, evidence)


def _withdraw(connection: Connection, doubt: Doubtful, job: str, said: Said, evidence: dict[str, Any]) -> bool:
    """Another word than the request that was named before, of which the provider has told nothing."""
    if said == "not-charged":
        _require_unpaid(connection, doubt, job)
    if not resolving.withdraw_request(connection, doubt.submission_id, evidence):
        return False
    return said == "charged" or resolving.take_back_loss(connection, doubt.submission_id, evidence)


def _require_free(connection: Connection, doubt: Doubtful, job: str, request_id: str) -> None:
    """Raises UsageError where a request cannot be that of the job, by what we know ourselves."""
    _require_fetchable(connection, doubt, job)
    if doubt.is_written_off:
        raise UsageError(
            f"job {job} of {doubt.batch_id} is not in doubt any more: it counts as charged",
            hint=f"take the request under care by itself: orchestrator adopt {request_id}",
        )
    owner = doubtful.owner_of_request(connection, doubt.account_pk, request_id)
    if owner is not None:
        raise UsageError(f"request {request_id} is that of job {owner.job} of {owner.batch_id}")


def _require_fetchable(connection: Connection, doubt: Doubtful, job: str) -> None:
    """A text came with its answer, or not at all. Raises UsageError."""
    order = order_of(connection, doubt.submission_id)
    if any(ordered.type == "text" for ordered in order.jobs):
        raise UsageError(
            f"job {job} of {doubt.batch_id} is a text, which no request id can fetch",
            hint="say whether it was charged: --as charged or --as not-charged",
        )


def _accept(connection: Connection, doubt: Doubtful, request_id: str, evidence: dict[str, Any]) -> bool:
    answer = {"verdict": "accepted", "reason": "a person found its request id"}
    if doubt.is_unproven and not unproven.name_another(connection, doubt.submission_id, request_id, answer):
        return False
    doubtful.record_evidence(connection, doubt.submission_id, evidence)
    acceptance = sending.Acceptance(
        doubt.submission_id,
        request_id=request_id,
        provider_status=None,
        answer=answer,
        poll_in_seconds=0,
        is_proven=evidence["told"],
    )
    return bool(sending.record_accepted(connection, [acceptance]))


def _leave_receipt(connection: Connection, settings: Settings, submission_id: UUID, said: Said) -> None:
    """The receipt of what a person found out, before that is committed; a sandbox of our own leaves none."""
    order = order_of(connection, submission_id)
    if order.origin == SANDBOX_ORIGIN:
        return
    if isinstance(said, UUID):
        receipt = Receipt(at=datetime.now(UTC), request_id=str(said), order=order)
    else:
        receipt = Receipt.not_charged(order)
    ReceiptBook(settings.home, order.origin, order.account).write(receipt)
