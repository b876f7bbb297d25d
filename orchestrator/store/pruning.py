"""Forgetting what nobody asks for any more. Jobs, fingerprints, the ledger and what an index lists always stay."""

from datetime import timedelta

from sqlalchemy import Connection, text

_OLD = "batch.finished_at < orchestrator_now() - CAST(:age AS interval)"
#: Reused jobs' own rows of files, once a later batch has the job completed anew or again.
_COPIES = text(
    f"""
    DELETE FROM asset USING job, batch
    WHERE asset.job_pk = job.pk AND job.reused_from_pk IS NOT NULL AND batch.id = job.batch_id
      AND batch.state IN ('completed', 'cancelled') AND {_OLD}
      AND EXISTS (
          SELECT FROM job AS later JOIN batch AS of_later ON of_later.id = later.batch_id
          WHERE later.name = job.name AND later.pk > job.pk AND later.state = 'completed'
            AND of_later.name = batch.name AND of_later.destination = batch.destination
            AND (of_later.account_pk = batch.account_pk OR of_later.sandbox AND batch.sandbox)
      )
    """  # noqa: S608 - constants only
)
_EVENTS = text(f"DELETE FROM event USING batch WHERE batch.id = event.batch_id AND {_OLD}")  # noqa: S608 - as above
_NOTICES = text("DELETE FROM notification WHERE ended_at < orchestrator_now() - CAST(:age AS interval)")


def forget(connection: Connection, age: timedelta) -> dict[str, int]:
    """Delete the rows that are older than `age` and say nothing that is needed; how many of what."""
    parameters = {"age": age}
    statements = {"copies": _COPIES, "events": _EVENTS, "notifications": _NOTICES}
    return {what: connection.execute(statement, parameters).rowcount for what, statement in statements.items()}


def old_sandboxes(connection: Connection, age: timedelta) -> list[str]:
    """The sandbox batches that ended longer ago than `age`."""
    query = text(f"SELECT id FROM batch WHERE sandbox AND {_OLD}")  # noqa: S608 - constants only
    return [str(batch_id) for batch_id in connection.execute(query, {"age": age}).scalars()]
