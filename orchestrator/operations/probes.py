"""`/livez`, `/readyz` and `/metrics` of a worker, over HTTP: tiny, in threads of its own, and for reading only."""

import logging
import socket
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from orchestrator.base.errors import Unusable
from orchestrator.base.urls import split_address

log = logging.getLogger("orchestrator.operations")

#: A client that says nothing holds a thread no longer than this.
_PATIENCE_SECONDS = 10
_TEXT = "text/plain; charset=utf-8"

#: What is wrong, each in a few words; empty where nothing is.
Probe = Callable[[], list[str]]


class ProbeServer:
    """Serves from `start` to `close`. `live`: whether the process works; `ready`: whether it could take on work.

    `address` is host:port; port 0 is any free one, and `port` is the one that it became.
    """

    def __init__(self, address: str, *, live: Probe, ready: Probe, registry: CollectorRegistry) -> None:
        """Raises Unusable where the address cannot be had."""
        pages = {
            "/livez": lambda: _verdict(live()),
            "/readyz": lambda: _verdict(ready()),
            "/metrics": lambda: (HTTPStatus.OK, CONTENT_TYPE_LATEST, generate_latest(registry)),
        }
        host, port = split_address(address)
        try:
            self._server = _server_class(host)((host, port), _handler(pages))
        except OSError as error:
            raise Unusable(
                f"ORCHESTRATOR_METRICS_ADDRESS {address} cannot be served: {error.strerror or error}",
                hint="each worker of a machine needs a port of its own",
            ) from None
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, name="probes", daemon=True)

    def start(self) -> None:
        self._thread.start()
        log.info("metrics and probes are on port %s", self.port)

    def close(self) -> None:
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()


Page = tuple[HTTPStatus, str, bytes]


def _verdict(troubles: list[str]) -> Page:
    """An answer that a person can read, too."""
    status = HTTPStatus.SERVICE_UNAVAILABLE if troubles else HTTPStatus.OK
    return status, _TEXT, "".join(f"{line}\n" for line in troubles or ["ok"]).encode()


def _server_class(host: str) -> type[ThreadingHTTPServer]:
    class Server(ThreadingHTTPServer):
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        daemon_threads = True

    return Server


def _handler(pages: dict[str, Callable[[], Page]]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = _PATIENCE_SECONDS
        server_version, sys_version = "orchestrator", ""

        def do_GET(self) -> None:
            page = pages.get(self.path.partition("?")[0])
            if page is None:
                self.send_error(HTTPStatus.NOT_FOUND)
                return
            status, content_type, body = page()
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
            log.debug("probe: %s", format % args)

    return Handler
