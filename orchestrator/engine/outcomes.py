"""Recording what answers of the provider say of their items, whether to a POST or to a poll."""

from collections.abc import Callable, Mapping, Sequence
from uuid import UUID

from orchestrator.engine.charges import OpenItem
from orchestrator.engine.tariff import Tariff, tariffs_of
from orchestrator.katana.wire import Answer
from orchestrator.store import polling
from orchestrator.store.database import Connection
from orchestrator.store.polling import ItemOutcome

#: The outcomes of a submission's open items: what is final of them, by an answer and by how it is paid.
Read = Callable[[UUID, Answer, Sequence[OpenItem], Tariff], list[ItemOutcome]]


def record_answers(connection: Connection, answers: Mapping[UUID, Answer], read: Read) -> dict[UUID, set[int]]:
    """Move the items of some submissions on as far as `read` finds them ended; the positions that are still open, of
    each submission that has not ended.

    It may lock the account, and locks the submissions: call it before any row is changed.
    """
    open_items = polling.open_items(connection, answers)
    tariffs = tariffs_of(connection, answers)
    outcomes = {of: read(of, answer, open_items[of], tariffs[of]) for of, answer in answers.items()}
    polling.record_outcomes(connection, outcomes)
    ended = polling.resolve_finished(connection, {of: answer.status for of, answer in answers.items()})
    return {
        of: {position for position, _ in open_items[of]} - {outcome.position for outcome in outcomes[of]}
        for of in answers
        if of not in ended
    }
