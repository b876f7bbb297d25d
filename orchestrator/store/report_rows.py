"""What a report shows beside the documents of jobs: what they were made of, how long it took, their thumbnails."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, extract, func, select

from orchestrator.base.clock import rfc3339
from orchestrator.base.states import Gate
from orchestrator.store.tables import assets, jobs, submissions

_MADE = jobs.alias("made")


@dataclass(frozen=True, slots=True)
class ReportRow:
    """One job. `made_in_seconds`: from its sending until the provider told that it was done.

    `thumbnails` are the URIs of the provider's own pictures of its files, by the file's position.
    """

    item: Mapping[str, Any]
    row: Mapping[str, Any] | None
    made_in_seconds: float | None
    ended_at: str | None
    thumbnails: Mapping[int, str]
    gate: Gate | None = None


def report_rows(connection: Connection, batch_id: str) -> dict[str, ReportRow]:
    """The jobs of a batch by their names; of a reused one, the time of the job that was really made."""
    thumbnails: dict[int, dict[int, str]] = {}
    pictures = (
        select(assets.c.job_pk, assets.c.position, assets.c.uri)
        .join(jobs, jobs.c.pk == assets.c.job_pk)
        .where(jobs.c.batch_id == batch_id, assets.c.role == "thumbnail", assets.c.stored_at.is_not(None))
    )
    for picture in connection.execute(pictures):
        thumbnails.setdefault(picture.job_pk, {})[picture.position] = picture.uri
    seconds = extract("epoch", submissions.c.ended_at - submissions.c.sent_at).label("seconds")
    rows = connection.execute(
        select(jobs.c.pk, jobs.c.name, jobs.c.item, jobs.c.row, jobs.c.gate, _MADE.c.ended_at, seconds)
        .join(_MADE, _MADE.c.pk == func.coalesce(jobs.c.reused_from_pk, jobs.c.pk))
        .outerjoin(submissions, submissions.c.id == _MADE.c.submission_id)
        .where(jobs.c.batch_id == batch_id)
    )
    return {
        row.name: ReportRow(
            item=row.item,
            row=row.row,
            made_in_seconds=None if row.seconds is None else float(row.seconds),
            ended_at=rfc3339(row.ended_at),
            thumbnails=thumbnails.get(row.pk, {}),
            gate=None if row.gate is None else Gate(row.gate),
        )
        for row in rows
    }
