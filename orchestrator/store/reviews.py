"""What people decided about results: who, when, and which batch makes another take.

A decision is about the job that made the result, so that it holds wherever that is reused.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Connection, any_, func, literal, select, update
from sqlalchemy.dialects.postgresql import ARRAY, distinct_on
from sqlalchemy.dialects.postgresql import insert as upsert

from orchestrator.base.clock import rfc3339
from orchestrator.base.states import Decision, Gate, JobState
from orchestrator.store.database import NOW
from orchestrator.store.tables import assets, batches, jobs, reviews

_ORIGIN_PK = func.coalesce(jobs.c.reused_from_pk, jobs.c.pk)


@dataclass(frozen=True, slots=True)
class Reviewable:
    """A job of a batch as decisions see it; `origin_pk` is the job that made its result.

    `asset_sha256` is the hash of its first original, "" where it has none. `has_item`: there is something to send;
    a row that spoilt its job left nothing. `was_charged`: it was paid for, and gave no file.
    """

    pk: int
    origin_pk: int
    name: str
    state: JobState
    gate: Gate | None
    asset_sha256: str
    has_item: bool = True
    was_charged: bool = False


@dataclass(frozen=True, slots=True)
class Reviewed:
    """The newest yes or no to a result."""

    decision: Decision
    asset_sha256: str
    note: str | None


@dataclass(frozen=True, slots=True)
class NewReview:
    """A decision to be written down; `take_key` is there for another take only."""

    origin_pk: int
    decision: Decision
    asset_sha256: str
    note: str | None
    take_key: str | None = None


def reviewable_jobs(connection: Connection, batch_id: str) -> list[Reviewable]:
    """All jobs of a batch in the manifest's order."""
    first = (
        select(assets.c.job_pk, assets.c.sha256)
        .ext(distinct_on(assets.c.job_pk))
        .join(jobs, jobs.c.pk == assets.c.job_pk)
        .where(jobs.c.batch_id == batch_id, assets.c.role == "original", assets.c.stored_at.is_not(None))
        .order_by(assets.c.job_pk, assets.c.position)
        .subquery()
    )
    rows = connection.execute(
        select(jobs, _ORIGIN_PK.label("origin_pk"), first.c.sha256)
        .outerjoin(first, first.c.job_pk == jobs.c.pk)
        .where(jobs.c.batch_id == batch_id)
        .order_by(jobs.c.ordinal)
    )
    return [
        Reviewable(
            pk=row.pk,
            origin_pk=row.origin_pk,
            name=row.name,
            state=JobState(row.state),
            gate=None if row.gate is None else Gate(row.gate),
            asset_sha256=row.sha256 or "",
            has_item=bool(row.item),
            was_charged=bool((row.error or {}).get("charged")),
        )
        for row in rows
    ]


def verdicts(connection: Connection, origin_pks: Iterable[int]) -> dict[int, Reviewed]:
    """The newest yes or no to the results of these jobs; asking for another take is neither."""
    rows = connection.execute(
        select(reviews)
        .ext(distinct_on(reviews.c.job_pk))
        .where(_is_of(origin_pks), reviews.c.decision != Decision.TAKE)
        .order_by(reviews.c.job_pk, reviews.c.pk.desc())
    )
    return {row.job_pk: Reviewed(Decision(row.decision), row.asset_sha256, row.note) for row in rows}


def take_keys(connection: Connection, origin_pks: Iterable[int]) -> dict[tuple[int, str], str]:
    """By job and the hash of its result: the submit key of the batch that makes another take of it."""
    rows = connection.execute(select(reviews).where(_is_of(origin_pks), reviews.c.decision == Decision.TAKE))
    return {(row.job_pk, row.asset_sha256): row.take_key for row in rows}


def record_reviews(connection: Connection, new: Iterable[NewReview]) -> bool:
    """Write decisions down, under the batch's lock (`lock_batch`); whether all are. A take that was asked for before,
    perhaps just now about another batch that has the same result, stays the only one.
    """
    rows = [
        {
            "job_pk": review.origin_pk,
            "decision": review.decision,
            "asset_sha256": review.asset_sha256,
            "note": review.note,
            "take_key": review.take_key,
        }
        for review in new
    ]
    if not rows:
        return True
    written = upsert(reviews).values(at=NOW).on_conflict_do_nothing().returning(reviews.c.pk)
    return len(connection.execute(written, rows).all()) == len(rows)


def write_index_anew(connection: Connection, batch_id: str) -> None:
    """Have whoever works the batch write the index of its collection once more."""
    connection.execute(update(batches).where(batches.c.id == batch_id).values(index_due=True))


def job_reviews(connection: Connection, batch_id: str) -> dict[int, dict[str, Any]]:
    """By job (row) of a batch: the `review` of its document: the newest decision, and the `verdict` that stands."""
    rows = connection.execute(
        select(
            jobs.c.pk, reviews.c.decision, reviews.c.note, reviews.c.at, reviews.c.actor, _verdict().label("verdict")
        )
        .ext(distinct_on(jobs.c.pk))
        .join(reviews, reviews.c.job_pk == _ORIGIN_PK)
        .where(jobs.c.batch_id == batch_id)
        .order_by(jobs.c.pk, reviews.c.pk.desc())
    )
    return {
        row.pk: {
            "decision": row.decision,
            "note": row.note,
            "at": rfc3339(row.at),
            "actor": row.actor,
            "verdict": row.verdict,
        }
        for row in rows
    }


def is_rejected() -> ColumnElement[bool]:
    """Whether the verdict on a job's result is no."""
    return func.coalesce(_verdict() == Decision.REJECT, False)


def _verdict() -> ColumnElement[str | None]:
    """The newest yes or no on a job's result: asking for another take answers neither, and that may never be made."""
    return (
        select(reviews.c.decision)
        .where(reviews.c.job_pk == _ORIGIN_PK, reviews.c.decision != Decision.TAKE)
        .order_by(reviews.c.pk.desc())
        .limit(1)
        .correlate(jobs)
        .scalar_subquery()
    )


def rejected_results(connection: Connection, wanted: ColumnElement[Any]) -> frozenset[int]:
    """The jobs whose fingerprint is `wanted` (one of many) and whose results are rejected."""
    newest = (
        select(reviews.c.job_pk, reviews.c.decision)
        .ext(distinct_on(reviews.c.job_pk))
        .where(reviews.c.decision != Decision.TAKE)
        .order_by(reviews.c.job_pk, reviews.c.pk.desc())
        .subquery()
    )
    query = (
        select(newest.c.job_pk)
        .join(jobs, jobs.c.pk == newest.c.job_pk)
        .where(newest.c.decision == Decision.REJECT, jobs.c.fingerprint == wanted)
    )
    return frozenset(connection.execute(query).scalars())


def _is_of(origin_pks: Iterable[int]) -> ColumnElement[bool]:
    return reviews.c.job_pk == any_(literal(list(origin_pks), ARRAY(BigInteger())))
