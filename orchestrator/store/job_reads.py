"""The `jobs` document of a batch: what each job came to, what was tried for it, and the files that it gave."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import BigInteger, Connection, any_, case, literal, select
from sqlalchemy.dialects.postgresql import ARRAY

from orchestrator.base.clock import rfc3339
from orchestrator.base.money import canonical
from orchestrator.base.payments import Unit
from orchestrator.base.states import JobState
from orchestrator.store.amounts import job_amounts
from orchestrator.store.history import job_histories
from orchestrator.store.paid import PAYMENT_COLUMNS, payment_document
from orchestrator.store.reviews import job_reviews
from orchestrator.store.tables import assets, jobs, payments, submissions
from orchestrator.store.units import batch_unit

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
