"""Advisory locks of two keys, held by sessions that stand for something as long as they live: who holds which."""

from sqlalchemy import BigInteger, Subquery, text


def held_in(space: int, name: str) -> Subquery:
    """The second keys of the locks held in this database whose first key is `space`, as a subquery of this `name`."""
    return (
        text(
            "SELECT objid::bigint FROM pg_locks WHERE locktype = 'advisory' AND granted "
            "AND objsubid = 2 AND classid = :space "
            "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        .bindparams(space=space)
        .columns(objid=BigInteger())
        .subquery(name)
    )
