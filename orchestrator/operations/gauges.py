"""The metrics that are read off a snapshot of the store: one table, told by the worker that leads.

None is labelled with a batch, a job or an account, so that there are never more series than payments and states.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from orchestrator.base.states import ENDED_BATCHES, BatchState, HoldCode, JobState
from orchestrator.store.metrics import Snapshot

#: Label values, and the number; of a metric without labels the only key is ().
Values = Mapping[tuple[str, ...], float]

_OPEN_BATCHES = tuple(state for state in BatchState if state not in ENDED_BATCHES)
_RUNS = ("started", "submitted", "skipped", "failed")


@dataclass(frozen=True, slots=True)
class Gauge:
    """One metric that is read off the snapshot."""

    name: str
    help: str
    labels: tuple[str, ...]
    values: Callable[[Snapshot], Values]


def _one(number: float) -> Values:
    return {(): number}


def _each(words: Iterable[str], counts: Mapping[str, int]) -> Values:
    """A count for each of the words, also where it is zero: a series that is not there raises no alert."""
    return {(str(word),): counts.get(word, 0) for word in words}


def _summed(values: Iterable[tuple[tuple[str, ...], float]]) -> Values:
    sums: dict[tuple[str, ...], float] = {}
    for labels, value in values:
        sums[labels] = sums.get(labels, 0.0) + value
    return sums


def _caps_used(snapshot: Snapshot) -> Values:
    """Of each window that some account has a cap for, the share of the one that is nearest to it."""
    used: dict[tuple[str, ...], float] = {}
    for _, cap in snapshot.caps:
        share = float(cap.used / cap.amount) if cap.amount else 1.0
        used[cap.window,] = max(share, used.get((cap.window,), 0.0))
    return used


GAUGES = (
    Gauge("orchestrator_jobs", "Jobs of batches that have not ended.", ("state",), lambda s: _each(JobState, s.jobs)),
    Gauge(
        "orchestrator_batches", "Batches that have not ended.", ("state",), lambda s: _each(_OPEN_BATCHES, s.batches)
    ),
    Gauge("orchestrator_holds", "Holds of batches that have not ended.", ("code",), lambda s: _each(HoldCode, s.holds)),
    Gauge(
        "orchestrator_committed",
        "Money spent, lost, reserved or in doubt in the UTC day or month that runs, in the payment's own unit.",
        ("payment", "unit", "window"),
        lambda s: {(p, p.unit, window): float(amount) for (p, window), amount in s.committed.items()},
    ),
    Gauge(
        "orchestrator_cap_left",
        "What the accounts' caps leave of the window that runs, in the cap's unit; below zero: passed.",
        ("payment", "unit", "window"),
        lambda s: _summed(((p, cap.unit, cap.window), float(cap.left)) for p, cap in s.caps),
    ),
    Gauge(
        "orchestrator_cap_used_ratio",
        "The share of its cap that the account nearest to it has used; 1: all.",
        ("window",),
        _caps_used,
    ),
    Gauge(
        "orchestrator_budget_used_ratio",
        "The share of its budget that the batch nearest to it has committed; 1: all.",
        (),
        lambda s: _one(s.budget_used_ratio),
    ),
    Gauge(
        "orchestrator_budget_left",
        "What the batches that have not ended may still commit of their budgets, added up, in the payment's own unit.",
        ("payment", "unit"),
        lambda s: {(p, p.unit): float(left) for p, left in s.budget_left.items()},
    ),
    Gauge(
        "orchestrator_in_doubt",
        "Paid requests whose answer was lost, and which nobody has settled yet.",
        ("payment",),
        lambda s: {(p,): (s.doubts[p].count if p in s.doubts else 0) for p in s.breakers_open},
    ),
    Gauge(
        "orchestrator_in_doubt_money",
        "What those requests may have cost, in the payment's own unit.",
        ("payment", "unit"),
        lambda s: {(p, p.unit): (float(s.doubts[p].money) if p in s.doubts else 0) for p in s.breakers_open},
    ),
    Gauge(
        "orchestrator_in_doubt_oldest_seconds",
        "How long ago the oldest of those requests was sent.",
        (),
        lambda s: _one(max((doubts.oldest_seconds for doubts in s.doubts.values()), default=0)),
    ),
    Gauge(
        "orchestrator_breaker_open",
        "Accounts for which the provider is taken for down, so that nothing is sent.",
        ("payment",),
        lambda s: {(p,): number for p, number in s.breakers_open.items()},
    ),
    Gauge(
        "orchestrator_poll_overdue_seconds",
        "How late the most overdue poll is.",
        (),
        lambda s: _one(s.poll_overdue_seconds),
    ),
    Gauge(
        "orchestrator_copies_waiting",
        "Finished jobs whose files are not stored yet.",
        (),
        lambda s: _one(s.copies_waiting),
    ),
    Gauge(
        "orchestrator_copies_failing",
        "Those of them that could not be stored at the last try.",
        (),
        lambda s: _one(s.copies_failing),
    ),
    Gauge(
        "orchestrator_copy_expiry_seconds",
        "The time until the first file that is not stored is gone at the provider; not there where none waits.",
        (),
        lambda s: {} if s.first_expiry_seconds is None else _one(s.first_expiry_seconds),
    ),
    Gauge(
        "orchestrator_schedule_overdue_seconds",
        "How long a slot of a schedule waits to be begun.",
        (),
        lambda s: _one(s.schedule_overdue_seconds),
    ),
    Gauge(
        "orchestrator_schedule_runs",
        "Slots of the last 24 hours by how they ended.",
        ("state",),
        lambda s: _each(_RUNS, s.schedule_runs),
    ),
    Gauge(
        "orchestrator_schedule_runs_late",
        "Slots of the last 24 hours that were begun late: earlier ones may have been missed.",
        (),
        lambda s: _one(s.schedule_runs_late),
    ),
    Gauge(
        "orchestrator_notices_waiting",
        "Notifications that are not delivered yet.",
        (),
        lambda s: _one(s.notices_waiting),
    ),
    Gauge(
        "orchestrator_notices_given_up",
        "Notifications given up in the last 24 hours.",
        (),
        lambda s: _one(s.notices_given_up),
    ),
    Gauge(
        "orchestrator_workers_alive",
        "Living workers, one for each account that they work for; a command that works a batch itself is one, too.",
        (),
        lambda s: _one(s.workers_alive),
    ),
)
