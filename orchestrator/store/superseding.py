"""A newer batch takes over what an older one of its collection, which waits for a person, has not sent: bought once."""

from collections.abc import Collection

from sqlalchemy import BigInteger, Connection, bindparam, select, text
from sqlalchemy.dialects.postgresql import ARRAY

from orchestrator.base.states import ENDED_BATCHES
from orchestrator.store.accounts import is_of_collection
from orchestrator.store.chains import pass_on_all_ends
from orchestrator.store.settling import settle_batch
from orchestrator.store.tables import batches

_TAKE_OVER = text(
    """
    UPDATE job SET state = 'skipped', waits_for = NULL, ended_at = orchestrator_now(), error = jsonb_build_object(
        'code', 'unknown', 'message', 'left to ' || CAST(:newer AS text) || ', which has the same job',
        'charged', false, 'provider', NULL)
    WHERE batch_id = :older AND state IN ('waiting', 'pending') AND fingerprint IN (
        SELECT fingerprint FROM job AS same WHERE same.batch_id = :newer AND same.state IN ('waiting', 'pending'))
    """
)
#: The same jobs of newer batches that are bought, or are to be.
_LEAVE = text(
    """
    UPDATE job SET state = 'skipped', waits_for = NULL, ended_at = orchestrator_now(), error = jsonb_build_object(
        'code', 'unknown', 'message', 'left to ' || newer.batch_id || ', which has the same job',
        'charged', false, 'provider', NULL)
    FROM (
        SELECT DISTINCT ON (own.pk) own.pk, same.batch_id
        FROM job AS own JOIN batch AS mine ON mine.id = own.batch_id
        JOIN account AS payer ON payer.pk = own.account_pk JOIN account AS its_payer ON its_payer.origin = payer.origin
        JOIN job AS same ON same.account_pk = its_payer.pk AND same.fingerprint = own.fingerprint
            AND same.pk > own.pk AND same.batch_id <> own.batch_id AND same.reused_from_pk IS NULL
            AND same.state IN ('waiting', 'pending', 'submitting', 'generating', 'copying', 'in_doubt', 'completed')
        JOIN batch AS its ON its.id = same.batch_id AND its.name = mine.name
            AND (its.account_pk = mine.account_pk OR NOT its.sandbox)
        WHERE own.pk = ANY(:jobs)
        ORDER BY own.pk, same.pk DESC
    ) AS newer
    WHERE job.pk = newer.pk AND job.state IN ('waiting', 'pending')
    """
).bindparams(bindparam("jobs", type_=ARRAY(BigInteger())))


def leave_to_newer(connection: Connection, job_pks: Collection[int]) -> None:
    """Skip those of these unsent jobs that a newer batch of their collection has bought meanwhile, or is to buy."""
    connection.execute(_LEAVE, {"jobs": list(job_pks)})


def take_over(connection: Connection, batch_id: str) -> None:
    """Skip, in the other open batches of its collection, every unsent job that a new batch has too, whoever pays.

    Call it under the locks of all accounts beside its own, in the transaction that stores the batch: nothing of them is
    claimed meanwhile.
    """
    newer = connection.execute(select(batches).where(batches.c.id == batch_id)).one()
    others = select(batches.c.id).where(
        is_of_collection(newer.name, newer.account_pk),
        batches.c.id != newer.id,
        batches.c.state.not_in(ENDED_BATCHES),
    )
    found = connection.execute(others.order_by(batches.c.id).with_for_update(key_share=True)).scalars().all()
    if found:
        pass_on_all_ends(
            connection, batch_id
        )  # what it skips itself, as it lacks what that needs, it takes from nobody
    for older in found:
        if connection.execute(_TAKE_OVER, {"newer": newer.id, "older": older}).rowcount:
            settle_batch(connection, older)
