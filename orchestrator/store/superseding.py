"""A newer batch takes over what an older one of its collection, which waits for a person, has not sent: bought once."""

from sqlalchemy import Connection, select, text

from orchestrator.base.states import ENDED_BATCHES
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


def take_over(connection: Connection, batch_id: str) -> None:
    """Skip, in the other open batches of its collection, every unsent job that a new batch has too.

    Call it under the account's lock, in the transaction that stores the batch: nothing of them is claimed meanwhile.
    """
    newer = connection.execute(select(batches).where(batches.c.id == batch_id)).one()
    others = select(batches.c.id).where(
        batches.c.account_pk == newer.account_pk,
        batches.c.name == newer.name,
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
