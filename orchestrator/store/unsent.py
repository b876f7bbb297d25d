"""What of a batch is not sent yet, and what of it goes by itself or once a person says yes: jobs and their price."""

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

from sqlalchemy import BigInteger, Connection, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY

_PKS = ARRAY(BigInteger())
#: What waits for a canary or needs a result that is to be looked at, and all below it, goes only when someone says so.
_UNSENT = text(
    """
    WITH RECURSIVE kept_back AS (
        (SELECT pk FROM job WHERE batch_id = :batch AND state = 'waiting' AND waits_for = 'canary'
         UNION
         SELECT job_need.job_pk FROM job JOIN job_need ON job_need.needed_pk = job.pk
         WHERE job.batch_id = :batch AND job.gate = 'manual')
        UNION
        SELECT job_need.job_pk FROM kept_back JOIN job_need ON job_need.needed_pk = kept_back.pk
    ), still_kept_back AS (
        (SELECT pk FROM job
         WHERE batch_id = :batch AND state = 'waiting' AND waits_for = 'canary' AND pk <> ALL(:released)
         UNION
         SELECT job_need.job_pk FROM job JOIN job_need ON job_need.needed_pk = job.pk
         WHERE job.batch_id = :batch AND job.gate = 'manual' AND job.pk <> ALL(:gates))
        UNION
        SELECT job_need.job_pk FROM still_kept_back JOIN job_need ON job_need.needed_pk = still_kept_back.pk
    ), unsent AS (
        SELECT coalesce(price, estimate) AS price,
               state = 'waiting' AND pk IN (SELECT pk FROM kept_back) AS waits_for_yes
        FROM job WHERE batch_id = :batch AND (
            state = 'pending' OR state = 'waiting' AND pk NOT IN (SELECT pk FROM still_kept_back)
        )
    )
    SELECT count(*) FILTER (WHERE waits_for_yes) AS jobs,
           coalesce(sum(price) FILTER (WHERE waits_for_yes), 0) AS freed,
           coalesce(sum(price) FILTER (WHERE NOT waits_for_yes), 0) AS by_itself
    FROM unsent
    """
).bindparams(bindparam("released", type_=_PKS), bindparam("gates", type_=_PKS))


class Unsent(NamedTuple):
    """What a yes sets free, `freed_jobs` for `freed_credits`, beside the credits of what goes `by_itself`.

    Both count what may be sent now, or once the jobs that it needs are completed.
    """

    freed_jobs: int
    freed_credits: Decimal
    by_itself: Decimal


def unsent(connection: Connection, batch_id: str, *, released: Sequence[int] = (), gates: Sequence[int] = ()) -> Unsent:
    """What goes if these jobs (rows) need not wait for the canaries any more, and these gates are opened."""
    row = connection.execute(_UNSENT, {"batch": batch_id, "released": list(released), "gates": list(gates)}).one()
    return Unsent(row.jobs, Decimal(row.freed), Decimal(row.by_itself))
