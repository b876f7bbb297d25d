"""Branches of chains: what was skipped because of a job, and what a skipped job needs, when it is to run after all."""

from collections import defaultdict
from collections.abc import Collection
from typing import Any

from sqlalchemy import Connection, bindparam, select, text

from orchestrator.base.states import ACTIVE_JOBS, Gate, JobError, JobState
from orchestrator.store.chains import wait_for_needs
from orchestrator.store.tables import job_needs, jobs

_MAY_COME = frozenset({*ACTIVE_JOBS, JobState.IN_DOUBT, JobState.COMPLETED})


def skipped_below(
    connection: Connection, batch_id: str, roots: Collection[int], *, elsewhere: bool = False
) -> list[int]:
    """The skipped jobs that can run once the jobs `roots` do, however far down: nothing else that they need has failed.

    `elsewhere`: also those that need none of `roots`, where what they were skipped for is mended.
    """
    needs: dict[int, list[Any]] = defaultdict(list)
    for need in connection.execute(_needs_of_skipped(batch_id)):
        needs[need.job_pk].append(need)
    revived = set(roots)
    found: list[int] = []
    more = True
    while more:
        more = False
        for pk, needed in list(needs.items()):
            if all(_can_come(need, revived) for need in needed) and (
                elsewhere or any(need.needed_pk in revived for need in needed)
            ):
                revived.add(pk)
                found.append(pk)
                del needs[pk]
                more = True
    return found


def _needs_of_skipped(batch_id: str) -> Any:
    needed = jobs.alias("needed")
    return (
        select(job_needs.c.job_pk, job_needs.c.needed_pk, needed.c.state, needed.c.gate)
        .join(jobs, jobs.c.pk == job_needs.c.job_pk)
        .join(needed, needed.c.pk == job_needs.c.needed_pk)
        .where(
            jobs.c.batch_id == batch_id,
            jobs.c.state == JobState.SKIPPED,
            jobs.c.error["code"].astext == JobError.DEPENDENCY_FAILED,
        )
    )


def _can_come(need: Any, revived: Collection[int]) -> bool:
    return need.needed_pk in revived or (need.state in _MAY_COME and need.gate != Gate.REJECTED)


_FAILED_ABOVE = text(
    """
    WITH RECURSIVE above AS (
        SELECT needed_pk FROM job_need WHERE job_pk = :job
        UNION
        SELECT job_need.needed_pk FROM above
        JOIN job ON job.pk = above.needed_pk AND job.state = 'skipped'
        JOIN job_need ON job_need.job_pk = job.pk
    )
    SELECT job.* FROM above JOIN job ON job.pk = above.needed_pk
    WHERE job.state IN ('failed', 'rejected', 'skipped', 'cancelled') OR job.gate = 'rejected'
    ORDER BY job.ordinal
    """
).bindparams(bindparam("job"))


def stopped_above(connection: Connection, job_pk: int) -> list[Any]:
    """The jobs that keep a skipped job from running, however far up: those that did not run well or were rejected."""
    return list(connection.execute(_FAILED_ABOVE, {"job": job_pk}).all())


def revive_below(connection: Connection, batch_id: str, job_pks: Collection[int]) -> None:
    """Have what was skipped because of these jobs wait for them again, now that they run after all."""
    wait_for_needs(connection, [*job_pks, *skipped_below(connection, batch_id, job_pks)])
