"""Taking over what the receipts prove and a database that was put back to an earlier state does not know."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC
from itertools import chain, count
from uuid import UUID, uuid4

from sqlalchemy import Connection, func, insert, null, select, update

from orchestrator.base.states import BatchState, EntryKind, JobState, PaymentState, SubmissionState
from orchestrator.catalog.models import Catalog
from orchestrator.receipts.receipt import Order, OrderedBatch, OrderedJob, OrderedPayment, Receipt
from orchestrator.store import accounts, creating, ledger, payments, resolving, sending
from orchestrator.store.branches import revive_below
from orchestrator.store.database import NOW
from orchestrator.store.recovery import known_requests, record_late, sent_among, unanswered_among
from orchestrator.store.settling import note_doubt
from orchestrator.store.tables import batches, catalogs, jobs, submissions

#: Jobs of which nothing is under way or stored: a request that is found for one becomes its own.
_FREE_JOBS = (JobState.PENDING, JobState.WAITING, JobState.FAILED, JobState.REJECTED, JobState.SKIPPED)
#: Batches that nothing is added to any more.
_ENDED_BATCHES = (BatchState.COMPLETED, BatchState.CANCELLED)


@dataclass(slots=True)
class Adopted:
    """What one receipt brought into the database."""

    batch_id: str
    #: Its answer is not known: whether it was charged is for evidence or a person to tell.
    is_in_doubt: bool
    is_new_batch: bool = False
    #: The jobs that its request is for, and those of them that had to be made.
    jobs: list[str] = field(default_factory=list)
    made: list[str] = field(default_factory=list)

    @property
    def job_state(self) -> JobState:
        return JobState.IN_DOUBT if self.is_in_doubt else JobState.GENERATING


def adopt(connection: Connection, account_pk: int, receipt: Receipt, catalog: Catalog) -> Adopted | None:
    """Make the rows that a receipt proves, so that its request is polled and never bought again. What was sent, with no
    word of its answer, comes into doubt.

    None where it is known. `catalog` stands in where the one that priced its batch is gone. The account's
    row is locked: two who adopt at once adopt each request once. Its credits count in the caps of the receipt's day.
    """
    order = receipt.order
    accounts.lock_account(connection, account_pk)
    if _is_known(connection, account_pk, receipt):
        return None
    is_in_doubt = receipt.request_id is None
    adopted = _batch_for(connection, order.batch, account_pk, catalog, is_in_doubt=is_in_doubt)
    if receipt.request_id is not None:
        resolving.give_back_found(connection, order.submission_id, receipt.request_id)
    submission_id = _adopted_submission(connection, receipt, adopted.batch_id, account_pk)
    for job in order.jobs:
        _adopt_job(connection, job, submission_id, account_pk, adopted)
    ledger.reserve(connection, [submission_id], receipt.at.astimezone(UTC).date())
    if is_in_doubt:
        ledger.move(connection, EntryKind.DOUBT, [submission_id])
        note_doubt(connection, adopted.batch_id)
    return adopted


def _is_known(connection: Connection, account_pk: int, receipt: Receipt) -> bool:
    """Whether nothing has to be made for a receipt; what comes late is recorded."""
    submission_id = receipt.order.submission_id
    if receipt.request_id is None:
        return bool(sent_among(connection, [submission_id]))
    if known_requests(connection, account_pk, [receipt.request_id]):
        return True
    if unanswered_among(connection, [submission_id]):
        record_late(connection, receipt)
        return True
    return False


def _batch_for(
    connection: Connection, wanted: OrderedBatch, account_pk: int, catalog: Catalog, *, is_in_doubt: bool
) -> Adopted:
    """The order's batch, running again or made anew; one that ended for good gets another for what it misses."""
    names = chain([wanted.id], _names_beside(wanted.id))
    states = ((name, _locked_state(connection, name)) for name in names)
    batch_id, state = next(found for found in states if found[1] not in _ENDED_BATCHES)
    if state is None:
        _make_batch(connection, wanted, batch_id, account_pk, catalog)
    elif state in (BatchState.FAILED, BatchState.PARTIAL_FAILURE):
        running = {"state": BatchState.RUNNING, "finished_at": null()}
        connection.execute(update(batches).where(batches.c.id == batch_id).values(running))
    return Adopted(batch_id, is_in_doubt, is_new_batch=state is None)


def _locked_state(connection: Connection, batch_id: str) -> str | None:
    """The state of a batch whose row is locked from here on; None where there is none."""
    query = select(batches.c.state).where(batches.c.id == batch_id).with_for_update(key_share=True)
    return connection.execute(query).scalar_one_or_none()


def _make_batch(connection: Connection, wanted: OrderedBatch, batch_id: str, account_pk: int, catalog: Catalog) -> None:
    """The batch's row; its jobs follow, as far as there are receipts of them."""
    creating.keep_catalog(connection, catalog)
    priced_by = select(catalogs.c.digest).where(catalogs.c.digest == wanted.catalog_digest)
    connection.execute(
        insert(batches).values(
            wanted.model_dump()
            | {
                "id": batch_id,
                "state": BatchState.RUNNING,
                "sandbox": False,
                "account_pk": account_pk,
                "catalog_digest": connection.execute(priced_by).scalar_one_or_none() or catalog.digest,
                "index_due": False,
                "partial": True,  # it does not know what else was in the collection
            }
        )
    )


def _adopted_submission(connection: Connection, receipt: Receipt, batch_id: str, account_pk: int) -> UUID:
    """A submission as its receipt proves it: under its own id, unless the database has one of it."""
    order = receipt.order
    submission_id = uuid4() if _set_aside(connection, order) else order.submission_id
    state = SubmissionState.UNKNOWN if receipt.request_id is None else SubmissionState.ACCEPTED
    is_accepted = state is SubmissionState.ACCEPTED
    connection.execute(
        insert(submissions).values(
            id=submission_id,
            batch_id=batch_id,
            account_pk=account_pk,
            state=state,
            reserved=order.reserved,
            body_sha256=order.body_sha256,
            request_id=receipt.request_id,
            answer={"verdict": state, "reason": "adopted" if is_accepted else "its receipt names no answer"},
            polls=0,
            poll_failures=0,
            created_at=order.sent_at,
            sent_at=order.sent_at,
            accepted_at=order.sent_at if is_accepted else null(),
            due_at=NOW if is_accepted else null(),
        )
    )
    if order.payment is not None:
        _adopt_payment(connection, submission_id, order.payment, is_accepted=is_accepted)
    return submission_id


def _adopt_payment(connection: Connection, submission_id: UUID, payment: OrderedPayment, *, is_accepted: bool) -> None:
    """A payment without its signature, which no receipt has: it cannot be sent again, only looked up on its chain."""
    payments.record_signed(connection, submission_id, payment, None)
    if is_accepted:
        payments.end(connection, submission_id, PaymentState.SETTLED, evidence={"reason": "from its receipt"})


def _set_aside(connection: Connection, order: Order) -> bool:
    """Whether the database has a submission of an order's id, which came to another end before it was put back.

    One that was only intended is taken back, whoever holds it, so that its jobs are free; and it is known as sent.
    """
    of_order = submissions.c.id == order.submission_id
    own = connection.execute(select(submissions.c.state, submissions.c.lease_token).where(of_order)).one_or_none()
    if own is None:
        return False
    if own.state == SubmissionState.INTENDED:
        reason = "it was sent, by its receipt, and is under way in another submission"
        sending.take_back(connection, order.submission_id, own.lease_token, reason=reason)
    never_sent = submissions.c.sent_at.is_(None)
    connection.execute(update(submissions).where(of_order, never_sent).values(sent_at=order.sent_at))
    return True


def _adopt_job(
    connection: Connection, wanted: OrderedJob, submission_id: UUID, account_pk: int, adopted: Adopted
) -> None:
    """The job under way in this submission. One that is busy or done elsewhere gets a second job beside it."""
    found = connection.execute(
        select(jobs.c.pk, jobs.c.state)
        .where(jobs.c.batch_id == adopted.batch_id, jobs.c.name == wanted.name)
        .with_for_update()
    ).first()
    if found is not None and found.state in _FREE_JOBS:
        _take_job(connection, found.pk, JobState(found.state), wanted, submission_id, adopted.job_state)
        revive_below(connection, adopted.batch_id, [found.pk])
        adopted.jobs.append(wanted.name)
        return
    name = wanted.name if found is None else _free_name(connection, adopted.batch_id, wanted.name)
    _make_job(connection, name, wanted, submission_id, account_pk, adopted)
    adopted.jobs.append(name)
    adopted.made.append(name)


def _take_job(
    connection: Connection, pk: int, state: JobState, wanted: OrderedJob, submission_id: UUID, target: JobState
) -> None:
    """Bring a job to its new state, by the steps that are allowed."""
    if state is not JobState.PENDING:
        again = {"state": JobState.PENDING, "waits_for": null(), "error": null(), "ended_at": null()}
        connection.execute(update(jobs).where(jobs.c.pk == pk).values(again))
    sent = {
        "state": JobState.SUBMITTING,
        "submission_id": submission_id,
        "position": wanted.position,
        "price": wanted.price,
        "agreed": wanted.agreed,
        "item": wanted.item,
        "attempts": jobs.c.attempts + 1,
        "error": null(),
    }
    for values in (sent, {"state": target}):
        connection.execute(update(jobs).where(jobs.c.pk == pk).values(values))


def _make_job(
    connection: Connection, name: str, wanted: OrderedJob, submission_id: UUID, account_pk: int, adopted: Adopted
) -> None:
    of_batch = jobs.c.batch_id == adopted.batch_id
    is_taken = connection.execute(select(jobs.c.pk).where(of_batch, jobs.c.ordinal == wanted.ordinal)).first()
    last = select(func.max(jobs.c.ordinal)).where(of_batch)
    ordinal = connection.execute(last).scalar_one() + 1 if is_taken else wanted.ordinal
    connection.execute(
        insert(jobs).values(
            wanted.model_dump()
            | {
                "name": name,
                "ordinal": ordinal,
                "batch_id": adopted.batch_id,
                "account_pk": account_pk,
                "state": adopted.job_state,
                "submission_id": submission_id,
                "attempts": 1,
                "copy_failures": 0,
                "due_at": NOW,
            }
        )
    )


def _free_name(connection: Connection, batch_id: str, name: str) -> str:
    """The first name beside a job's that no job of the batch has."""
    taken = set(
        connection.execute(
            select(jobs.c.name).where(
                jobs.c.batch_id == batch_id, jobs.c.name.startswith(f"{name}-recovered", autoescape=True)
            )
        ).scalars()
    )
    return next(candidate for candidate in _names_beside(name) if candidate not in taken)


def _names_beside(name: str) -> Iterator[str]:
    """`NAME-recovered`, `NAME-recovered-2`, and so on without end."""
    return chain([f"{name}-recovered"], (f"{name}-recovered-{number}" for number in count(2)))
