"""What a worker serves as metrics: of everything while it leads, and of itself always.

The numbers of everything come from a snapshot of the store, read every few seconds, and from counters and histograms
of what has happened since this worker leads. Whoever does not lead tells nothing of them, so that all workers can be
scraped and each series is there once.
"""

import logging
import time
from collections.abc import Callable, Collection, Iterator, Sequence

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from orchestrator.base.heartbeats import Heartbeats
from orchestrator.base.states import ENDED_JOBS, JobError, JobState
from orchestrator.operations.gauges import GAUGES, Values
from orchestrator.operations.ledger_watch import LedgerWatch
from orchestrator.store.database import Database, OutOfReach
from orchestrator.store.event_tail import Charge, Happening
from orchestrator.store.metrics import Snapshot, read_snapshot

log = logging.getLogger("orchestrator.operations")

#: How often the snapshot is read, and how many times longer than it took the next one waits at least.
_REFRESH_SECONDS = 10.0
_REST_FACTOR = 20
#: What workers may divide among each other.
STEPS = ("submit", "poll", "copy")
#: Generation takes from seconds (images) to an hour (a queue of videos).
_GENERATION_BUCKETS = (2, 5, 10, 20, 30, 45, 60, 90, 120, 180, 300, 600, 1200, 3600)
_POLL_BUCKETS = (1, 2, 3, 5, 8, 13, 21, 34, 55, 100)
_LAG_BUCKETS = (1, 2, 3, 5, 10, 20, 30, 60, 120, 300, 900)
#: What is further off than this is no lag: the provider keeps files for another time than the guide says.
_LONGEST_LAG_SECONDS = 6 * 3600.0


class Counts:
    """Counters and histograms of what happens. For one thread that counts, and any that read."""

    def __init__(self) -> None:
        self.ended = Counter("orchestrator_jobs_ended", "Jobs that came to an end.", ["state"], registry=None)
        self.errors = Counter("orchestrator_job_errors", "Jobs that failed or were rejected.", ["error"], registry=None)
        self.charged = Counter(
            "orchestrator_charged", "Money spent or lost, in the payment's own unit.",
            ["payment", "unit", "book"], registry=None,
        )  # fmt: skip
        self.generation = Histogram(
            "orchestrator_generation_seconds", "From a request's acceptance until its job was seen to be done.",
            ["model"], buckets=_GENERATION_BUCKETS, registry=None,
        )  # fmt: skip
        self.polls = Histogram(
            "orchestrator_polls_per_job", "How often a request was asked about until its job was done.",
            buckets=_POLL_BUCKETS, registry=None,
        )  # fmt: skip
        self.lag = Histogram(
            "orchestrator_detection_lag_seconds",
            "From the end of a job's generation, 72 hours before its files expire, until it was seen.",
            buckets=_LAG_BUCKETS, registry=None,
        )  # fmt: skip
        for state in ENDED_JOBS:
            self.ended.labels(state)
        for error in JobError:
            self.errors.labels(error)

    def note(self, happening: Happening) -> None:
        """Count a transition of a job."""
        if happening.entity != "job" or happening.is_sandbox:
            return
        state = JobState(happening.to_state)
        if state in ENDED_JOBS:
            self.ended.labels(state).inc()
        if happening.error is not None and state in (JobState.FAILED, JobState.REJECTED):
            self.errors.labels(happening.error).inc()
        if state is JobState.COPYING:
            self._note_generated(happening)

    def _note_generated(self, happening: Happening) -> None:
        if happening.since_accepted_seconds is not None:
            self.generation.labels(happening.model or "").observe(max(happening.since_accepted_seconds, 0.0))
        if happening.polls is not None:
            self.polls.observe(happening.polls)
        lag = happening.since_made_seconds
        if lag is not None and abs(lag) < _LONGEST_LAG_SECONDS:
            self.lag.observe(max(lag, 0.0))

    def charge(self, charge: Charge) -> None:
        """Count an entry of the ledger."""
        if charge.amount:
            self.charged.labels(charge.payment, charge.payment.unit, charge.book).inc(float(charge.amount))

    def collect(self) -> Iterator[Metric]:
        for metric in (self.ended, self.errors, self.charged, self.generation, self.polls, self.lag):
            yield from metric.collect()


class Metrics(Collector):
    """The metrics of this process, and while it leads those of everything; `registry` has them all.

    `ledger` knows what batches' books do not balance; `steps` are those that this process does.
    """

    def __init__(
        self,
        database: Database,
        heartbeats: Heartbeats,
        *,
        ledger: LedgerWatch | None = None,
        steps: Collection[str] = STEPS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # else there is a second series for each
        self._database = database
        self._heartbeats = heartbeats
        self._ledger = ledger
        self._steps = steps
        self._monotonic = monotonic
        self._read: tuple[float, Snapshot] | None = None
        self._next_at = 0.0
        self.counts = Counts()
        self.registry = CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.registry.register(self)

    def refresh(self) -> None:
        """A duty of the leader: read the snapshot anew when it is time; the one before stands where that fails."""
        begun_at = self._monotonic()
        if begun_at < self._next_at:
            return
        try:
            with self._database.begin() as connection:
                snapshot = read_snapshot(connection)
            self._read = (self._monotonic(), snapshot)
        except OutOfReach as error:
            log.warning("the numbers for the metrics cannot be read now: %s", error.message)
        finally:
            ended_at = self._monotonic()
            self._next_at = ended_at + max(_REFRESH_SECONDS, _REST_FACTOR * (ended_at - begun_at))

    def retire(self) -> None:
        """This process does not lead any more: what it knows of everything grows old."""
        self._read = None
        self._next_at = 0.0

    def collect(self) -> Iterator[Metric]:
        ages: Values = {(loop.value,): age for loop, age in self._heartbeats.ages().items()}
        yield _gauge("orchestrator_loop_age_seconds", "Since a loop of this worker moved last.", ["loop"], ages)
        does: Values = {(step,): float(step in self._steps) for step in STEPS}
        yield _gauge("orchestrator_works", "Whether this worker does the step.", ["step"], does)
        read = self._read
        leads = 0.0 if read is None else 1.0
        yield _gauge("orchestrator_leader", "Whether this worker tells of everything.", [], {(): leads})
        if read is not None:
            yield from self._of_everything(*read)

    def _of_everything(self, read_at: float, snapshot: Snapshot) -> Iterator[Metric]:
        age = self._monotonic() - read_at
        yield _gauge("orchestrator_snapshot_age_seconds", "Since these numbers were read.", [], {(): age})
        if self._ledger is not None:
            yield from _of_ledger(self._ledger)
        for gauge in GAUGES:
            yield _gauge(gauge.name, gauge.help, gauge.labels, gauge.values(snapshot))
        yield from self.counts.collect()


def _of_ledger(ledger: LedgerWatch) -> Iterator[Metric]:
    yield _gauge(
        "orchestrator_ledger_unbalanced",
        "Batches whose ledger does not balance with their jobs, of those that are open or ended in the last day.",
        [],
        {(): ledger.unbalanced()},
    )
    yield _gauge(
        "orchestrator_ledger_too_large",
        "Those of them that are too large to be audited all the time.",
        [],
        {(): ledger.too_large()},
    )


def _gauge(name: str, help_text: str, labels: Sequence[str], values: Values) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, help_text, labels=labels)
    for words, value in values.items():
        family.add_metric([str(word) for word in words], value)
    return family
