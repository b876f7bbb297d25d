"""What one worker does for all of them: it is the leader as long as its session in Postgres lives."""

import logging
import threading
from collections.abc import Callable, Sequence

from orchestrator.base.logs import LogEvent, as_event
from orchestrator.store.database import Database, OutOfReach
from orchestrator.store.leading import leadership

log = logging.getLogger("orchestrator.operations")

#: How often the leader does its duties, and the others try to become it.
_ROUND_SECONDS = 1.0
_STOP_SECONDS = 10.0


class Leader:
    """Does the `duties`, one after the other and again and again, while this process leads, in a thread of its own.

    Any number of workers have one; the next one leads within seconds of the leader's end. A duty is called each second,
    decides itself what there is to do, and does not take long; `retired` are called when this process leads no more.
    `beat` is called in each round, whoever leads.
    """

    def __init__(
        self,
        database: Database,
        duties: Sequence[Callable[[], None]],
        *,
        retired: Sequence[Callable[[], None]] = (),
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        self._database = database
        self._duties = duties
        self._retired = retired
        self._beat = beat
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="leader", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Begin nothing more; returns at once."""
        self._stopped.set()

    def join(self) -> None:
        """Wait until the duty under way is done, but not for ever."""
        if self._thread.is_alive():
            self._thread.join(_STOP_SECONDS)

    def _run(self) -> None:
        """Lead, or try to, until stopped; nothing that goes wrong ends it."""
        while not self._stopped.wait(_ROUND_SECONDS):
            self._beat()
            try:
                with leadership(self._database) as confirm:
                    if confirm is not None:
                        self._lead(confirm)
            except OutOfReach:
                log.debug("the database is out of reach; nobody leads from here")

    def _lead(self, confirm: Callable[[], None]) -> None:
        log.info("this worker leads", extra=as_event(LogEvent.LEADER_BEGAN))
        try:
            while True:
                self._beat()
                confirm()
                for duty in self._duties:
                    self._do(duty)
                if self._stopped.wait(_ROUND_SECONDS):
                    return
        finally:
            log.info("this worker leads no more", extra=as_event(LogEvent.LEADER_ENDED))
            for end in self._retired:
                end()

    def _do(self, duty: Callable[[], None]) -> None:
        try:
            duty()
        except OutOfReach:
            raise
        except Exception:
            log.exception("a duty of the leading worker failed; it is tried again")
