"""The heads of the queues: of each batch and model the first job that waits to be sent.

A loose scan of `ix_job_submit_due`: what it costs depends on the number of models, not on the number of jobs, so that
a model that has to wait with a million jobs hides none behind it.
"""

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import Connection, Text, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY

_HEADS = text(
    """
    WITH RECURSIVE queue AS (
        SELECT batch_id, (
            SELECT model FROM job WHERE job.batch_id = batch.batch_id AND state = 'pending' ORDER BY model LIMIT 1
        ) AS model
        FROM unnest(:batches) AS batch (batch_id)
        UNION ALL
        SELECT batch_id, (
            SELECT model FROM job
            WHERE job.batch_id = queue.batch_id AND state = 'pending' AND job.model > queue.model
            ORDER BY model LIMIT 1
        )
        FROM queue WHERE model IS NOT NULL
    )
    SELECT queue.batch_id, queue.model, extract(epoch FROM head.due_at - orchestrator_now()) AS due_in_seconds
    FROM queue CROSS JOIN LATERAL (
        SELECT due_at FROM job
        WHERE job.batch_id = queue.batch_id AND job.model = queue.model AND state = 'pending'
        ORDER BY due_at, pk LIMIT 1
    ) AS head
    WHERE queue.model IS NOT NULL
    """
).bindparams(bindparam("batches", type_=ARRAY(Text())))
#: Of a new batch Postgres has no statistics: it takes it for a small one, and would read and sort all of its jobs.
_READ_IN_ORDER = text("SET LOCAL enable_sort = off")


@dataclass(frozen=True, slots=True)
class Head:
    """When the first job of a batch and a model is due: seconds from now, at most 0 where it is."""

    batch_id: str
    model: str
    due_in_seconds: float


def read_in_order(connection: Connection) -> None:
    """Have the transaction read queues in the order of their indexes from here on, and stop where it has enough."""
    connection.execute(_READ_IN_ORDER)


def queue_heads(connection: Connection, batch_ids: Collection[str]) -> list[Head]:
    """The heads of all queues of some batches. From here on the transaction reads queues in their order."""
    if not batch_ids:
        return []
    read_in_order(connection)
    rows = connection.execute(_HEADS, {"batches": list(batch_ids)})
    return [Head(row.batch_id, row.model, float(row.due_in_seconds)) for row in rows]
