"""Reading for people and scripts: the JSON documents of interface "JSON", straight from the rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Connection, any_, case, exists, literal, or_, select, text
from sqlalchemy.dialects.postgresql import ARRAY

from orchestrator.base.clock import rfc3339
from orchestrator.base.money import ZERO, canonical
from orchestrator.base.payments import Payment, Unit
from orchestrator.base.states import ENDED_BATCHES, BatchState, HoldCode, JobState
from orchestrator.store.accounts import lock_account
from orchestrator.store.amounts import batch_amounts, job_amounts
from orchestrator.store.batches import RESUMABLE_HOLDS
from orchestrator.store.budgets import account_caps
from orchestrator.store.database import NOW
from orchestrator.store.deliveries import troubled_notices
from orchestrator.store.history import job_histories
from orchestrator.store.money_holds import told_holds
from orchestrator.store.paid import PAYMENT_COLUMNS, payment_document
from orchestrator.store.payments import may_settle
from orchestrator.store.pulse import provider_document
from orchestrator.store.reviews import job_reviews
from orchestrator.store.tables import accounts, assets, batches, holds, jobs, payments, submissions
from orchestrator.store.totals import Totals, batch_totals
from orchestrator.store.units import batch_unit
from orchestrator.store.unsent import unsent
from orchestrator.store.unstored import has_unstored, unstored_document


def now(connection: Connection) -> str:
    """The database's clock, as `rfc3339`."""
    return str(rfc3339(connection.execute(select(NOW)).scalar_one()))


@dataclass(frozen=True, slots=True)
class BatchHeader:
    """What an operation has to know of a batch before it works on it. Its money is in the account's unit.

    `is_open`: there is something left to do, if only its index, which a process killed at the very end did not write,
    or a payment that its chain is to be asked about.
    """

    id: str
    state: BatchState
    is_open: bool
    sandbox: bool
    account_pk: int
    origin: str
    account: str
    unsent_credits: Decimal
    usd_per_credit: Decimal
    payment: Payment
    bundle: int


def batch_header(connection: Connection, batch_id: str) -> BatchHeader:
    """The header of an existing batch; `unsent_credits` is the price of what `resume` may send."""
    row = connection.execute(
        select(
            batches,
            accounts.c.origin,
            accounts.c.account,
            _is_kept_back().label("is_kept_back"),
            may_settle(batches.c.id).label("may_settle"),
        )
        .join(accounts, accounts.c.pk == batches.c.account_pk)
        .where(batches.c.id == batch_id)
    ).one()
    state = BatchState(row.state)
    return BatchHeader(
        id=row.id,
        state=state,
        is_open=row.index_due or row.may_settle or state not in ENDED_BATCHES,
        sandbox=row.sandbox,
        account_pk=row.account_pk,
        origin=row.origin,
        account=row.account,
        unsent_credits=ZERO if row.is_kept_back else unsent(connection, batch_id).by_itself,
        usd_per_credit=row.usd_per_credit,
        payment=Payment(row.payment),
        bundle=row.bundle,
    )


def _is_kept_back() -> ColumnElement[bool]:
    """Whether a hold that `resume` does not lift keeps a batch from sending anything."""
    lifted = (*RESUMABLE_HOLDS, HoldCode.STOP_WHEN)
    return exists().where(holds.c.batch_id == batches.c.id, holds.c.blocking, holds.c.code.not_in(lifted))


def is_batch(connection: Connection, batch_id: str) -> bool:
    """Whether there is a batch of this id."""
    return connection.execute(select(batches.c.id).where(batches.c.id == batch_id)).first() is not None


def was_stored(connection: Connection, batch_id: str, account_pk: int) -> bool:
    """Whether a batch was stored by a transaction whose end its client did not see.

    Waits until that transaction, which holds the account's lock, has ended either way; OutOfReach after a while.
    """
    connection.execute(text("SET LOCAL lock_timeout = '5s'"))
    lock_account(connection, account_pk)
    return is_batch(connection, batch_id)


def open_batches(connection: Connection) -> list[str]:
    """Every batch that `resume` without an argument takes up, the oldest first."""
    found = connection.execute(
        select(batches.c.id)
        .where(or_(batches.c.state.not_in(ENDED_BATCHES), batches.c.index_due))
        .order_by(batches.c.created_at)
    ).scalars()
    return [str(batch_id) for batch_id in found]


def batch_document(connection: Connection, batch_id: str) -> dict[str, Any]:
    """The `status` document of one batch."""
    return batch_with_totals(connection, batch_id)[0]


def batch_with_totals(connection: Connection, batch_id: str) -> tuple[dict[str, Any], Totals]:
    """The `status` document of one batch, and what its jobs add up to."""
    batch = connection.execute(select(batches).where(batches.c.id == batch_id)).one()
    totals = batch_totals(connection, batch_id)
    amounts = batch_amounts(
        batch, reserved=totals.reserved, spent=totals.spent, in_doubt=totals.in_doubt, lost=totals.lost
    )
    has_ended = batch.state in ENDED_BATCHES
    document = {
        "batch": batch.id,
        "name": batch.name,
        "state": batch.state,
        "sandbox": batch.sandbox,
        "jobs": {"total": sum(totals.counts.values())}
        | {state.value: totals.counts.get(state, 0) for state in JobState},
        "reused": totals.reused,
        "payment": batch.payment,
        "credits": amounts["credits"],
        "usd": {
            "estimated": canonical(batch.estimated * batch.usd_per_credit),
            "spent": canonical(totals.spent * batch.usd_per_credit),
        },
        "usdc": amounts["usdc"],
        "over_budget": _over_budget(batch, totals),
        "holds": _holds(connection, batch_id, totals),
        "unstored": unstored_document(connection, batch_id),
        "near_caps": _near_caps(connection, batch),
        "provider": None if has_ended else provider_document(connection, batch.account_pk),
        "notifications": troubled_notices(connection, batch_id),
        "destination": batch.destination,
        "created_at": rfc3339(batch.created_at),
        "cancelled_at": rfc3339(batch.cancelled_at),
        "finished_at": rfc3339(batch.finished_at),
    }
    return document, totals


def _over_budget(batch: Any, totals: Totals) -> str | None:
    """How much more than the budget is spent, reserved or in doubt, in the batch's unit: prices rose on the way."""
    if batch.budget is None:
        return None
    over = totals.spent + totals.reserved + totals.in_doubt - batch.budget
    return canonical(over) if over > 0 else None


def account_of(connection: Connection, batch_id: str) -> int:
    """The account that pays for an existing batch."""
    return int(connection.execute(select(batches.c.account_pk).where(batches.c.id == batch_id)).scalar_one())


def _holds(connection: Connection, batch_id: str, totals: Totals) -> list[dict[str, Any]]:
    """Each with the money, in the batch's unit, that it is about."""
    return [
        {
            "code": row.code,
            "since": rfc3339(row.since),
            "message": row.message,
            "command": row.command,
            "blocking": row.blocking,
            "at_stake": canonical(totals.at_stake(row.code)),
        }
        for row in told_holds(connection, batch_id)
    ]


def _near_caps(connection: Connection, batch: Any) -> list[dict[str, Any]]:
    """The caps of the account that soon stop a batch that can still move."""
    if batch.state in ENDED_BATCHES:
        return []
    return [cap.document() for cap in account_caps(connection, batch.account_pk) if cap.is_near]


def recent_batches(connection: Connection, limit: int = 20) -> list[str]:
    """The newest batches; those that need a person come first, then those that still run."""
    is_held = exists().where(holds.c.batch_id == batches.c.id)
    needs_one = or_(batches.c.state == BatchState.HELD, is_held, has_unstored())
    urgency = case((needs_one, 0), (batches.c.finished_at.is_(None), 1), else_=2)
    found = connection.execute(
        select(batches.c.id).order_by(urgency, batches.c.created_at.desc(), batches.c.id).limit(limit)
    ).scalars()
    return [str(batch_id) for batch_id in found]


#: The rest of a row, such as its item, is large.
_TOLD_OF_A_JOB = tuple(
    jobs.c[name]
    for name in (
        *("pk", "name", "type", "model", "state", "waits_for", "attempts", "labels"),
        *("estimate", "price", "spent", "work_credits", "error", "copy_error"),
    )
)
_TOLD_OF_A_FILE = tuple(
    assets.c[name]
    for name in (
        *("job_pk", "position", "kind", "uri", "sha256", "bytes", "mime_type", "width", "height"),
        *("duration_seconds", "source_expires_at", "tags"),
    )
)
_IS_WAITING = jobs.c.state.in_((JobState.GENERATING, JobState.IN_DOUBT))


def job_documents(
    connection: Connection, batch_id: str, *, state: str | None = None, error: str | None = None
) -> list[dict[str, Any]]:
    """The `jobs` document of a batch in the manifest's order, with what was tried for each job and its originals."""
    made = jobs.alias("made")
    query = (
        select(
            *_TOLD_OF_A_JOB,
            submissions.c.request_id,
            case((_IS_WAITING, submissions.c.provider_status)).label("provider_status"),
            case((_IS_WAITING, submissions.c.answer)).label("last_answer"),
            made.c.batch_id.label("reused_from"),
            *PAYMENT_COLUMNS,
        )
        .outerjoin(submissions, submissions.c.id == jobs.c.submission_id)
        .outerjoin(payments, payments.c.submission_id == jobs.c.submission_id)
        .outerjoin(made, made.c.pk == jobs.c.reused_from_pk)
        .where(jobs.c.batch_id == batch_id)
        .order_by(jobs.c.ordinal)
    )
    if state is not None:
        query = query.where(jobs.c.state == state)
    if error is not None:
        query = query.where(jobs.c.error["code"].astext == error)
    rows = connection.execute(query).all()
    wanted = None if state is None and error is None else [row.pk for row in rows]
    files = _originals(connection, batch_id, wanted)
    unit = batch_unit(connection, batch_id)
    tries = job_histories(connection, batch_id, unit, wanted)
    decided = job_reviews(connection, batch_id)
    return [
        _job_document(row, unit, files.get(row.pk, []), tries.get(row.pk, [])) | {"review": decided.get(row.pk)}
        for row in rows
    ]


def _originals(connection: Connection, batch_id: str, wanted: Sequence[int] | None) -> dict[int, list[dict[str, Any]]]:
    """The stored originals of a batch's jobs (by row), or of the wanted ones only."""
    query = (
        select(*_TOLD_OF_A_FILE)
        .join(jobs, jobs.c.pk == assets.c.job_pk)
        .where(jobs.c.batch_id == batch_id, assets.c.role == "original", assets.c.stored_at.is_not(None))
        .order_by(assets.c.position)
    )
    if wanted is not None:
        query = query.where(jobs.c.pk == any_(literal(list(wanted), ARRAY(BigInteger()))))
    files: dict[int, list[dict[str, Any]]] = {}
    for file in connection.execute(query):
        files.setdefault(file.job_pk, []).append(_asset_document(file))
    return files


def jobs_with_errors(connection: Connection, batch_id: str) -> list[dict[str, Any]]:
    """The jobs of a batch that have an error, in short and in the manifest's order: id, state, amounts and error."""
    unit = batch_unit(connection, batch_id)
    rows = connection.execute(
        select(jobs.c.name, jobs.c.state, jobs.c.estimate, jobs.c.spent, jobs.c.work_credits, jobs.c.error)
        .where(jobs.c.batch_id == batch_id, jobs.c.error.is_not(None))
        .order_by(jobs.c.ordinal)
    )
    return [
        {
            "id": row.name,
            "state": row.state,
            **job_amounts(unit, estimated=row.estimate, spent=row.spent, work_credits=row.work_credits),
            "error": row.error,
        }
        for row in rows
    ]


def _job_document(row: Any, unit: Unit, files: list[dict[str, Any]], history: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": row.name,
        "type": row.type or None,
        "model": row.model or None,
        "state": row.state,
        "waits_for": row.waits_for,
        "attempts": row.attempts,
        "request_id": row.request_id,
        "reused_from": row.reused_from,
        "labels": row.labels,
        **job_amounts(unit, estimated=row.estimate, spent=row.spent, work_credits=row.work_credits),
        "price": canonical(row.estimate if row.price is None else row.price),
        "error": row.error,
        "assets": files,
        "provider_status": row.provider_status,
        "last_answer": row.last_answer,
        "copy_error": row.copy_error,
        "payment": payment_document(row),
        "history": history,
    }


def _asset_document(file: Any) -> dict[str, Any]:
    return {
        "index": file.position,
        "kind": file.kind,
        "uri": file.uri,
        "sha256": file.sha256,
        "bytes": file.bytes,
        "mime_type": file.mime_type,
        "width": file.width,
        "height": file.height,
        "duration_seconds": file.duration_seconds,
        "source_expires_at": rfc3339(file.source_expires_at),
        "tags": file.tags,
    }
