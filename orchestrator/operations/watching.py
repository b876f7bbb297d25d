"""A batch as people watch it: its document, with how it moves just now and when it will have ended."""

from typing import Any

from orchestrator.base.states import BatchState
from orchestrator.operations.eta import Remaining, remaining
from orchestrator.store import reads
from orchestrator.store.database import Connection
from orchestrator.store.leases import count_alive, count_senders
from orchestrator.store.pulse import Pulse, read_pulse
from orchestrator.store.totals import Totals

#: The share of the time in which a document may be read: of a batch of 100,000 it is work for the database.
_READING_SHARE = 0.05
_LONGEST_REST_SECONDS = 5.0


def rest_seconds(reading_seconds: float) -> float:
    """How long to leave the database alone after a document whose reading took so long."""
    return min(reading_seconds / _READING_SHARE, _LONGEST_REST_SECONDS)


def watched_document(connection: Connection, batch_id: str) -> dict[str, Any]:
    """The `status` document of a batch with its `progress`, null once it has ended."""
    document, totals = reads.batch_with_totals(connection, batch_id)
    if document["finished_at"] is not None:
        return document | {"progress": None}
    ahead = {each.model for each in totals.work if each.unsent or each.under_way}
    account_pk = reads.account_of(connection, batch_id)
    pulse = read_pulse(connection, batch_id, account_pk, ahead)
    workers, senders = count_alive(connection), count_senders(connection, account_pk)
    return document | {"progress": _progress(document, totals, pulse, workers=workers, senders=senders)}


def _progress(document: dict[str, Any], totals: Totals, pulse: Pulse, *, workers: int, senders: int) -> dict[str, Any]:
    is_unsent = any(each.unsent for each in totals.work)
    rest = _rest(document, totals, pulse) if senders or (workers and not is_unsent) else None
    return {
        "workers": workers,
        "senders": senders,
        "in_flight": document["jobs"]["submitting"] + document["jobs"]["generating"],
        "next_poll_seconds": None if pulse.next_poll_seconds is None else round(pulse.next_poll_seconds, 1),
        "ended_per_minute": None if pulse.ended_per_minute is None else round(pulse.ended_per_minute, 1),
        "remaining_seconds": None if rest is None else {"least": rest.least_seconds, "most": rest.most_seconds},
        "typical_seconds": {model: round(seen.mean_seconds, 1) for model, seen in sorted(pulse.typical.items())},
        "last_errors": pulse.last_errors,
    }


def _rest(document: dict[str, Any], totals: Totals, pulse: Pulse) -> Remaining | None:
    """None where the batch does not go on by itself to its end."""
    stands = document["state"] != BatchState.RUNNING or document["provider"]["down_since"] is not None
    if stands or totals.kept_back or document["unstored"] or any(hold["blocking"] for hold in document["holds"]):
        return None
    at_once = sum(each.under_way for each in totals.work)
    return remaining(totals.work, pulse.typical, at_once=at_once, per_minute=pulse.ended_per_minute)
