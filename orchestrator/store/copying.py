"""What a copy changes: a file is verified, then stored; a job is completed when all its originals are."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Float, and_, bindparam, func, null, select, update

from orchestrator.base.states import JobState
from orchestrator.store.database import NOW
from orchestrator.store.leases import NO_LEASE
from orchestrator.store.polling import LONGEST_LIFE_SECONDS
from orchestrator.store.rowsets import BIG, INT, TEXT, UUID_, rowset
from orchestrator.store.sending import in_seconds
from orchestrator.store.tables import assets, jobs


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A verified file and where it is now."""

    key: str
    uri: str
    sha256: str
    size_bytes: int
    mime_type: str
    width: int | None
    height: int | None
    duration_seconds: float | None


def record_verified(connection: Connection, asset_pk: int, sha256: str) -> None:
    """The file is whole and its hash is known; a spooled copy can be trusted by it."""
    connection.execute(
        update(assets).where(assets.c.pk == asset_pk, assets.c.stored_at.is_(None)).values(sha256=sha256)
    )


def record_stored(connection: Connection, stored: Mapping[int, StoredFile]) -> None:
    """These files (by the asset's row) are in the destination. An object is named by its content: saying it twice
    changes nothing. A text that was kept here until now goes.
    """
    rows = [
        {
            "pk": pk,
            "key": file.key,
            "uri": file.uri,
            "sha256": file.sha256,
            "bytes": file.size_bytes,
            "mime_type": file.mime_type,
            "width": file.width,
            "height": file.height,
            "duration_seconds": file.duration_seconds,
        }
        for pk, file in stored.items()
    ]
    if rows:
        connection.execute(_RECORD_STORED, {"rows": rows})


def let_stored_expire(connection: Connection, job_pk: int) -> None:
    """Some originals of a job are stored: only what is known of the expiry of the others counts from now on."""
    connection.execute(_LET_STORED_EXPIRE, {"of_job": job_pk})


def seconds_to_expiry(connection: Connection, job_pk: int) -> float:
    """Until the first source that is still needed expires; less than 0 once it has, `inf` where none is needed (the job
    was put back meanwhile).
    """
    query = select(func.extract("epoch", jobs.c.source_expires_at - NOW)).where(jobs.c.pk == job_pk)
    left = connection.execute(query).scalar_one()
    return inf if left is None else float(left)


def record_completed(connection: Connection, finished: Mapping[int, UUID]) -> set[int]:
    """All originals of these jobs (by row, with the token of their lease) are stored. The jobs that are completed; not
    those whose lease is gone, or of which an original is missing after all.
    """
    rows = [{"pk": pk, "token": str(token)} for pk, token in finished.items()]
    return set(connection.execute(_RECORD_COMPLETED, {"rows": rows}).scalars())


def record_copy_failure(
    connection: Connection, job_pk: int, token: UUID, *, reason: str, retry_in_seconds: float
) -> bool:
    """It did not work this time; try again later."""
    values = NO_LEASE | {
        "copy_failures": jobs.c.copy_failures + 1,
        "copy_error": reason,
        "due_at": in_seconds(retry_in_seconds),
    }
    return bool(connection.execute(update(jobs).where(_held(job_pk, token)).values(values)).rowcount)


def record_copy_lost(connection: Connection, job_pk: int, token: UUID, error: dict[str, Any]) -> bool:
    """The file can never be stored: the job failed, and what it cost is spent."""
    values = NO_LEASE | {"state": JobState.FAILED, "error": error, "ended_at": NOW}
    return bool(connection.execute(update(jobs).where(_held(job_pk, token)).values(values)).rowcount)


def _held(job_pk: int, token: UUID) -> ColumnElement[bool]:
    return and_(jobs.c.pk == job_pk, jobs.c.lease_token == token, jobs.c.state == JobState.COPYING)


_FILES = rowset(
    pk=BIG,
    key=TEXT,
    uri=TEXT,
    sha256=TEXT,
    bytes=BIG,
    mime_type=TEXT,
    width=INT,
    height=INT,
    duration_seconds=Float(),
)
_RECORD_STORED = (
    update(assets)
    .where(assets.c.pk == _FILES.c.pk, assets.c.stored_at.is_(None))
    .values({column.name: column for column in _FILES.c if column.name != "pk"} | {"stored_at": NOW, "content": null()})
)
_IS_MISSING = and_(assets.c.role == "original", assets.c.stored_at.is_(None))
_OTHERS = (
    select(assets.c.job_pk, func.min(assets.c.source_expires_at).label("first"))
    .where(assets.c.job_pk == bindparam("of_job"), _IS_MISSING)
    .group_by(assets.c.job_pk)
    .subquery()
)
_LET_STORED_EXPIRE = (
    update(jobs)
    .where(jobs.c.pk == _OTHERS.c.job_pk, jobs.c.state == JobState.COPYING, _OTHERS.c.first.is_not(None))
    .values(source_expires_at=func.least(_OTHERS.c.first, in_seconds(LONGEST_LIFE_SECONDS)))
)
_FINISHED = rowset(pk=BIG, token=UUID_)
_MISSING = select(assets.c.pk).where(assets.c.job_pk == jobs.c.pk, _IS_MISSING)
_RECORD_COMPLETED = (
    update(jobs)
    .where(
        jobs.c.pk == _FINISHED.c.pk,
        jobs.c.lease_token == _FINISHED.c.token,
        jobs.c.state == JobState.COPYING,
        ~_MISSING.exists(),
    )
    .values(NO_LEASE | {"state": JobState.COMPLETED, "copy_error": None, "ended_at": NOW})
    .returning(jobs.c.pk)
)
