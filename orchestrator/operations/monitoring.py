"""What each worker has beside its work: metrics, probes, and the duties of whichever of them leads."""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager

from orchestrator.base.errors import Unusable
from orchestrator.base.heartbeats import Heartbeats, Loop
from orchestrator.base.logs import LogEvent, as_event
from orchestrator.base.settings import Settings
from orchestrator.operations.following import Follower, tell
from orchestrator.operations.leading import Leader
from orchestrator.operations.ledger_watch import LedgerWatch
from orchestrator.operations.metrics import STEPS, Metrics
from orchestrator.operations.probes import ProbeServer
from orchestrator.store import migrate
from orchestrator.store.database import Database, outages_told
from orchestrator.store.event_tail import CHARGES, HAPPENINGS, Charge, Happening

log = logging.getLogger("orchestrator.operations")

Duty = Callable[[], None]


class Monitor:
    """One worker's. From `start` on it serves, and leads if nobody else does; `drain` is the beginning of its end.

    `duties` are what else the leader does each second, and `retired` are called when it leads no more. `/readyz` asks
    `broker_is_there`, and `steps` are those that this worker does. Without ORCHESTRATOR_METRICS_ADDRESS nothing is
    served.
    """

    def __init__(
        self,
        settings: Settings,
        database: Database,
        heartbeats: Heartbeats,
        *,
        duties: Sequence[Duty] = (),
        retired: Sequence[Duty] = (),
        broker_is_there: Callable[[], bool] = lambda: True,
        steps: Collection[str] = STEPS,
    ) -> None:
        """Raises Unusable where the address cannot be had."""
        self._database = database
        self._heartbeats = heartbeats
        self._broker_is_there = broker_is_there
        self._is_draining = False
        ledger = LedgerWatch(database)
        metrics = Metrics(database, heartbeats, ledger=ledger, steps=steps)
        followers = _followers(settings, database, metrics)
        address = settings.metrics_address
        reads = [] if address is None else [metrics.refresh]
        self._leader = Leader(
            database,
            [ledger.look, *reads, *(follower.follow for follower in followers), *duties],
            retired=[metrics.retire, *(follower.retire for follower in followers), *retired],
            beat=lambda: heartbeats.beat(Loop.LEADER),
        )
        self.server = (
            ProbeServer(address, live=self.live, ready=self.ready, registry=metrics.registry) if address else None
        )

    def start(self) -> None:
        if self.server is not None:
            self.server.start()
        self._leader.start()
        log.info("this worker works", extra=as_event(LogEvent.WORKER_STARTED))

    @contextmanager
    def watching_loop(self) -> Iterator[None]:
        """Whether the event loop that this is entered on moves is seen meanwhile: the engines are on it."""
        beating = asyncio.create_task(self._heartbeats.keep(Loop.ENGINE))
        try:
            yield
        finally:
            beating.cancel()

    def drain(self) -> None:
        """Be ready for nothing more and lead no more; returns at once. Metrics are served until `close`."""
        if not self._is_draining:
            self._is_draining = True
            self._leader.stop()
            log.info("this worker stops once what it has paid for is safe", extra=as_event(LogEvent.WORKER_DRAINING))

    def close(self) -> None:
        """Wait until the duty under way is done, but not for ever, and serve nothing more."""
        self.drain()
        self._leader.join()
        self._heartbeats.forget(Loop.LEADER)
        if self.server is not None:
            self.server.close()
        log.info("this worker stopped as it should", extra=as_event(LogEvent.WORKER_STOPPED))

    def live(self) -> list[str]:
        """The loops that are stuck: such a process is of no use until it is started anew."""
        return [f"the {loop} loop is stuck" for loop in self._heartbeats.stuck()]

    def ready(self) -> list[str]:
        """Why this worker can take on no work now."""
        troubles = ["it is stopping"] if self._is_draining else []
        if not self._broker_is_there():
            troubles.append("the broker is out of reach")
        try:
            with outages_told():
                migrate.require_usable(self._database)
        except Unusable as error:
            troubles.append(error.message)
        return troubles


def _followers(
    settings: Settings, database: Database, metrics: Metrics
) -> list[Follower[Happening] | Follower[Charge]]:
    """What is followed, as far as somebody hears of it."""
    followers: list[Follower[Happening] | Follower[Charge]] = []
    consumers = []
    if settings.metrics_address is not None:
        consumers.append(metrics.counts.note)
        followers.append(Follower(database, CHARGES, [metrics.counts.charge]))
    if settings.log_format == "json":
        consumers.append(tell)
    if consumers:
        followers.append(Follower(database, HAPPENINGS, consumers))
    return followers
