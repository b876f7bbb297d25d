"""Someone's URL: an HTTP server of this machine that writes down what it is told, and answers as a test wants it."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Heard:
    """One request; header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    content: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.content)


@dataclass
class Sink:
    """What was heard, and how to answer: the statuses in turn, the last for ever."""

    url: str = ""
    heard: list[Heard] = field(default_factory=list)
    statuses: list[int] = field(default_factory=lambda: [200])
    before_answering: Callable[[Heard], object] = lambda _: None

    def answer(self, heard: Heard) -> int:
        self.heard.append(heard)
        self.before_answering(heard)
        return self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]

    def events(self) -> list[str]:
        return [heard.json["type"] for heard in self.heard]

    def wait_for(self, count: int, seconds: float = 10) -> list[Heard]:
        """Everything heard, once it is so much."""
        until = time.monotonic() + seconds
        while len(self.heard) < count and time.monotonic() < until:
            time.sleep(0.02)
        assert len(self.heard) >= count, f"only {len(self.heard)} of {count} came"
        return list(self.heard)


@contextmanager
def listening() -> Iterator[Sink]:
    """A sink at a free port."""
    sink = Sink()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status = sink.answer(Heard(self.command, self.path, headers, content))
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST  # noqa: N815 - the name that http.server looks for

        def log_message(self, *_: Any) -> None:
            """Nothing: pytest shows what a test says."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 64

        def handle_error(self, *_: Any) -> None:
            """Who asked may be gone by now."""

    with Server(("127.0.0.1", 0), Handler) as server:
        sink.url = f"http://127.0.0.1:{server.server_port}/hook/hidden-words"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield sink
        server.shutdown()
        thread.join()
