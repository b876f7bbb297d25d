"""What wakes the workers: each one watches the store, sends a hint when something is due, and runs schedules."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from math import inf
from typing import Any

from celery import bootsteps
from celery.concurrency.thread import TaskPool
from celery.signals import worker_shutdown
from celery.worker import state
from kombu.exceptions import OperationalError

from orchestrator.base.errors import Unusable
from orchestrator.base.heartbeats import Loop
from orchestrator.base.logs import LogEvent, as_event
from orchestrator.base.settings import load_settings
from orchestrator.operations.database import open_database
from orchestrator.operations.keyless import steps_done, worker_providers
from orchestrator.operations.monitoring import Monitor
from orchestrator.operations.recovering import require_known_receipts
from orchestrator.operations.ticking import Ticker
from orchestrator.store import chains, settling
from orchestrator.store.accounts import Scope, accounts_at
from orchestrator.store.database import Connection, Database, OutOfReach
from orchestrator.store.due import next_due
from workers import patience, stopping
from workers.announcing import Announcer
from workers.event_stream import tell_end
from workers.heartbeats import HEARTBEATS
from workers.kinds import HINT_EXPIRES_SECONDS, SETTLE, kinds_of

log = logging.getLogger("orchestrator.workers")

#: The longest time between two looks: new batches are found within it.
_LOOK_SECONDS = 1.0
#: At most one hint a kind in this time, also while more is due than can be done.
_GAP_SECONDS = 0.25
#: After a look that failed for a reason nobody foresaw.
_FAULT_SECONDS = 5.0
#: Dead workers are looked for this often.
_RESCUE_SECONDS = 5.0


class Watch(bootsteps.StartStopStep):  # type: ignore[misc]  # Celery has no types
    """The watching thread of a worker, its ticker and its monitor. They live in the main process and have connections
    of their own, since under prefork the engines are in the children.
    """

    requires = ("celery.worker.components:Pool",)

    def start(self, worker: Any) -> None:
        """Ends the worker with exit code 4 where credentials or database cannot be used."""
        stopping.stop_on_hangup()
        self._open = ExitStack()
        self._open.callback(tell_end, worker.app, worker.hostname)
        worker_shutdown.connect(self._end, weak=False)
        self._stopped = threading.Event()
        try:
            watcher = self._watcher(worker)
        except (Unusable, OutOfReach) as error:
            log.critical("this worker cannot work: %s", "; ".join(filter(None, (error.message, error.hint))))
            raise SystemExit(Unusable.exit_code) from None
        self._thread = threading.Thread(target=watcher.run, args=[self._stopped], name="watch", daemon=True)
        self._thread.start()
        self._ticker.start()
        self._monitor.start()

    def _watcher(self, worker: Any) -> "Watcher":
        app = worker.app
        settings = load_settings()
        kinds = kinds_of(app)
        submits = "submit" in kinds
        database = self._open.enter_context(open_database(settings))
        with database.begin() as connection:
            providers = worker_providers(settings, connection, submits=submits)
            scopes = [Scope(provider.account_pk(connection)) for provider in providers]
        if isinstance(worker.pool, TaskPool):
            patience.allow(worker.concurrency, kinds, providers)
        payers = [provider for provider in providers if provider.has_keys]
        for provider in payers:
            require_known_receipts(settings, database, provider)
        with database.begin() as connection:
            paying_pks = [provider.account_pk(connection) for provider in payers]
        beat_of_ticker = partial(HEARTBEATS.beat, Loop.TICKER)
        self._ticker = Ticker(settings, database, *paying_pks, beat=beat_of_ticker)

        def send(kind: str) -> None:
            app.send_task(kind, expires=HINT_EXPIRES_SECONDS, retry=False)

        watcher = Watcher(database, scopes, max_in_flight=settings.max_in_flight, kinds=kinds, send=send)
        if not submits:
            newcomers = Newcomers(settings.katana_base_url, scopes)
            watcher.also_looks = newcomers.look
        announcer = Announcer(app, database)
        self._monitor = Monitor(
            settings,
            database,
            HEARTBEATS,
            duties=[announcer],
            retired=[announcer.close],
            broker_is_there=lambda: watcher.broker_is_there,
            steps=steps_done(kinds, providers),
        )
        self._open.callback(self._monitor.close)
        return watcher

    def close(self, worker: Any) -> None:
        """The worker stops, by whatever way: nothing more is hinted at or claimed."""
        stopping.ask()
        self._stopped.set()
        self._ticker.stop()
        self._monitor.drain()

    def stop(self, worker: Any) -> None:
        self._thread.join()
        self._ticker.join()

    terminate = stop

    def _end(self, **_: Any) -> None:
        """The pool has stopped, too; until then the worker tells how it is, and then that it has ended."""
        self._open.close()


class Watcher:
    """Sends hints of the `kinds` that this worker reads; neither Postgres nor the broker needs to be there always."""

    def __init__(
        self,
        database: Database,
        scopes: Sequence[Scope],
        *,
        max_in_flight: int,
        kinds: frozenset[str],
        send: Callable[[str], None],
    ) -> None:
        self._database = database
        self._scopes = scopes
        self._max_in_flight = max_in_flight
        self._send = send
        self._hinted_at = dict.fromkeys(kinds, -inf)
        #: Done at each look, in its transaction.
        self.also_looks: Callable[[Connection], None] = lambda _: None
        #: Whether it took the last hint: there is one every few seconds.
        self.broker_is_there = True

    def run(self, stopped: threading.Event) -> None:
        """Look and hint until `stopped`; nothing that goes wrong ends it, as the worker would idle unnoticed."""
        while not stopped.is_set():
            HEARTBEATS.beat(Loop.WATCH)
            stopped.wait(self._look_again())
        HEARTBEATS.forget(Loop.WATCH)

    def _look_again(self) -> float:
        try:
            return self._look()
        except OutOfReach:
            log.warning("the database is out of reach; looking again", extra=as_event(LogEvent.DATABASE_OUT_OF_REACH))
            self._database.recover()
            return _LOOK_SECONDS
        except Exception:
            log.exception("looking for what is due failed; looking again in %s s", _FAULT_SECONDS)
            return _FAULT_SECONDS

    def _look(self) -> float:
        """Hint at what is due; returns the seconds until the next look."""
        with self._database.begin() as connection:
            self.also_looks(connection)
            dues = [_due(connection, scope, self._max_in_flight) for scope in self._scopes]
        now = time.monotonic()
        waits = [_LOOK_SECONDS]
        for kind, hinted_at in self._hinted_at.items():
            wait = max(min((due[kind] for due in dues), default=inf), hinted_at + _GAP_SECONDS - now)
            if kind == SETTLE:
                wait = min(wait, hinted_at + _RESCUE_SECONDS - now)
            if wait <= 0:
                self._hint(kind)
                wait = _GAP_SECONDS
            waits.append(wait)
        return min(waits)

    def _hint(self, kind: str) -> None:
        self._hinted_at[kind] = time.monotonic()
        try:
            self._send(kind)
        except OperationalError:
            if self.broker_is_there:
                log.warning(
                    "the broker is out of reach; nothing is lost, work goes on when it is back",
                    extra=as_event(LogEvent.BROKER_OUT_OF_REACH),
                )
            self.broker_is_there = False
        else:
            self.broker_is_there = True


class Newcomers:
    """Ends a worker without keys, once there is an account that it was not started for: it is to be started again."""

    def __init__(self, origin: str, scopes: Sequence[Scope]) -> None:
        self._origin = origin
        self._known = {scope.account_pk for scope in scopes}

    def look(self, connection: Connection) -> None:
        if accounts_at(connection, self._origin).keys() - self._known and state.should_stop is None:
            log.warning("there is a new account: this worker ends, to be started again for it, too")
            state.should_stop = 0


def _due(connection: Connection, scope: Scope, max_in_flight: int) -> dict[str, float]:
    """The seconds until there is work of each kind (0: now)."""
    due = next_due(connection, scope, max_in_flight=max_in_flight)
    looks = (chains.batches_to_move, settling.unsettled_batches, settling.batches_to_index)
    unsettled = any(look(connection, scope) for look in looks)
    sends = min((wait for wait in (due.submit, due.replay) if wait is not None), default=None)
    seconds = {"submit": sends, "poll": due.poll, "copy": due.copy, SETTLE: 0.0 if unsettled else None}
    return {kind: inf if wait is None else wait for kind, wait in seconds.items()}
