"""What was tried for each job of a batch: its submissions, each with what came of it, why, and what it cost."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from sqlalchemy import BigInteger, Connection, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY

from orchestrator.base.money import optional_canonical
from orchestrator.base.payments import Unit

#: A job that the provider wants later, again and again, is shown with its newest tries only.
NEWEST = 20

#: A submission is a job's by its reserve; a job that costs nothing has none, but knows its newest submission.
_TRIES = text(
    """
    WITH tried AS (
        SELECT job_pk, submission_id FROM ledger
        WHERE batch_id = :batch AND kind = 'reserve' AND (:jobs IS NULL OR job_pk = ANY(:jobs))
        UNION
        SELECT pk, submission_id FROM job
        WHERE batch_id = :batch AND submission_id IS NOT NULL AND (:jobs IS NULL OR pk = ANY(:jobs))
    ), cost AS (
        SELECT job_pk, submission_id,
               sum(CASE WHEN to_book IN ('spent', 'lost') THEN amount ELSE 0 END
                   - CASE WHEN from_book IN ('spent', 'lost') THEN amount ELSE 0 END) AS amount
        FROM ledger WHERE batch_id = :batch AND (:jobs IS NULL OR job_pk = ANY(:jobs)) GROUP BY job_pk, submission_id
    ), numbered AS (
        SELECT tried.job_pk, submission.*,
               row_number() OVER (PARTITION BY job_pk ORDER BY submission.created_at DESC, submission.id) AS number
        FROM tried JOIN submission ON submission.id = tried.submission_id
    )
    SELECT numbered.job_pk, numbered.request_id,
           to_char(coalesce(numbered.sent_at, numbered.created_at) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
               AS attempt_at,
           numbered.state AS outcome, coalesce(numbered.answer ->> 'reason', numbered.answer ->> 'poll') AS reason,
           CASE WHEN numbered.ended_at IS NOT NULL OR cost.amount > 0 THEN coalesce(cost.amount, 0) END AS cost
    FROM numbered LEFT JOIN cost ON cost.job_pk = numbered.job_pk AND cost.submission_id = numbered.id
    WHERE numbered.number <= :newest
    ORDER BY numbered.job_pk, numbered.number DESC
    """
).bindparams(bindparam("jobs", type_=ARRAY(BigInteger())))


def job_histories(
    connection: Connection, batch_id: str, unit: Unit, job_pks: Sequence[int] | None = None
) -> dict[int, list[dict[str, Any]]]:
    """The `history` of each job (by row), or of these only, that was ever tried, the newest try last.

    What a try costs is told under its `unit`, None while it is open; under the other unit there is never anything.
    """
    histories: dict[int, list[dict[str, Any]]] = defaultdict(list)
    named = None if job_pks is None else list(job_pks)
    for row in connection.execute(_TRIES, {"batch": batch_id, "newest": NEWEST, "jobs": named}):
        histories[row.job_pk].append(
            {
                "attempt_at": row.attempt_at,
                "request_id": row.request_id,
                "outcome": row.outcome,
                "reason": row.reason,
                **{each.value: optional_canonical(row.cost) if each is unit else None for each in Unit},
            }
        )
    return histories
