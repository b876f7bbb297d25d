"""Events of tasks, as Celery sends them, for whoever listens to the broker: tried once, in little time, and dropped."""

import logging
from collections.abc import Iterable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from kombu.exceptions import OperationalError

log = logging.getLogger("orchestrator.workers")

#: An event: its type, and its fields.
Event = tuple[str, Mapping[str, Any]]

_EVENTS_PER_MESSAGE = 100
#: Nobody's work may wait for a broker that is gone.
_BROKER_SECONDS = 2.0


class EventStream:
    """A connection to the broker that is made when it is needed. For one thread."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._connection: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def send(self, host: str, events: Iterable[Event], *, is_worker: bool = True) -> bool:
        """Send them in the name of `host`; False where the broker did not take them.

        One that is no worker is said to have gone, and long ago, or Flower would list it among them.
        """
        try:
            self._connect()
            with self._dispatcher(host) as dispatcher:
                for kind, fields in events:
                    dispatcher.send(kind, **fields)
                dispatcher.flush()
                if not is_worker:
                    dispatcher.send("worker-offline", timestamp=0)
        except (OperationalError, *self._connection.connection_errors, *self._connection.channel_errors) as error:
            log.debug("the broker takes no events: %s", type(error).__name__)
            self.close()
            return False
        return True

    def close(self) -> None:
        if self._connection is not None:
            with suppress(Exception):  # it may be gone already, in any of its library's ways
                self._connection.release()
            self._connection = None

    def _connect(self) -> None:
        if self._connection is None:
            patience = {"socket_timeout": _BROKER_SECONDS, "socket_connect_timeout": _BROKER_SECONDS}
            self._connection = self._app.connection_for_write(transport_options=patience)
        # What follows would try for ever.
        self._connection.ensure_connection(max_retries=1, interval_start=0, timeout=_BROKER_SECONDS)

    def _dispatcher(self, host: str) -> Any:
        return self._app.events.Dispatcher(
            channel=self._connection.default_channel,
            hostname=host,
            buffer_while_offline=False,
            buffer_group={"task"},
            buffer_limit=_EVENTS_PER_MESSAGE,
        )


def tell_end(app: Any, host: str) -> None:
    """Say that a worker has ended and does nothing more.

    Celery's own word of it comes while its last tasks run, which Flower would show as active for ever.
    """
    nothing = {"active": 0}
    with EventStream(app) as stream:
        stream.send(host, [("worker-heartbeat", nothing), ("worker-offline", nothing)])
