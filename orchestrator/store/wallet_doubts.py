"""What bears on a wallet's money in doubt beside its readings: whose requests the provider's list names."""

from collections.abc import Iterable
from decimal import Decimal

from sqlalchemy import Connection, exists, select

from orchestrator.base.states import SettledBy, SubmissionState
from orchestrator.store.tables import submissions

#: What stands before the id of a request in that of a chat completion.
_COMPLETION = "chatcmpl-"


def any_in_doubt(connection: Connection, account_pk: int) -> bool:
    """Whether something of the account is in doubt, judged by its readings or not."""
    in_doubt = exists().where(submissions.c.account_pk == account_pk, submissions.c.state == SubmissionState.UNKNOWN)
    return bool(connection.execute(select(in_doubt)).scalar_one())


def is_posting(connection: Connection, account_pk: int) -> bool:
    """Whether a POST of the account is under way, of which the provider may know more than we do."""
    under_way = submissions.c.state.in_([SubmissionState.INTENDED, SubmissionState.SENT])
    return bool(
        connection.execute(select(exists().where(submissions.c.account_pk == account_pk, under_way))).scalar_one()
    )


def known_requests(connection: Connection, request_ids: Iterable[str]) -> frozenset[str]:
    """Those of the request ids that are of submissions of ours; a text is known by the id of its completion."""
    ids = frozenset(request_ids)
    names = [*ids, *(_COMPLETION + request_id for request_id in ids)]
    ours = select(submissions.c.request_id).where(submissions.c.request_id.in_(names))
    known = set(connection.execute(ours).scalars())
    return frozenset(request_id for request_id in ids if {request_id, _COMPLETION + request_id} & known)


def proven_charges(connection: Connection, account_pk: int) -> list[Decimal]:
    """What requests of the account cost whose ids nobody knows, and that its balance has proven to be charged.

    A person's word and a write-off prove nothing: another charge of that amount may be what is in doubt.
    """
    proven = (
        submissions.c.settled_by == SettledBy.BALANCE,
        submissions.c.request_id.is_(None),
        submissions.c.charged > 0,
    )
    return list(
        connection.execute(
            select(submissions.c.charged).where(submissions.c.account_pk == account_pk, *proven)
        ).scalars()
    )
