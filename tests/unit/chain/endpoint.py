"""A JSON-RPC endpoint on this machine that says what a test tells it to say."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Refusal(Exception):
    """An answer of an endpoint that is an error; `message` in its words."""

    def __init__(self, message: str, code: int = -32000) -> None:
        super().__init__(message)
        self.message = message
        self.code = code


class Raw(Exception):
    """An answer that is no JSON-RPC at all."""

    def __init__(self, body: bytes, status: int = 200, *, delay_seconds: float = 0.0) -> None:
        super().__init__("raw")
        self.body = body
        self.status = status
        self.delay_seconds = delay_seconds


class Endpoint:
    """`says` maps a method to its result, to a function of its parameters, or to an exception; `asked` is a record."""

    def __init__(self, **says: Any) -> None:
        self.says = says
        self.asked: list[tuple[str, list[Any]]] = []
        self.url = ""

    def calls_of(self, method: str) -> list[list[Any]]:
        return [params for name, params in self.asked if name == method]

    def answer(self, question: dict[str, Any]) -> tuple[int, bytes]:
        method, params = question["method"], question["params"]
        self.asked.append((method, params))
        said = self.says.get(method, Refusal(f"no method {method}", -32601))
        document: dict[str, Any] = {"jsonrpc": "2.0", "id": question["id"]}
        try:
            result = said(*params) if callable(said) and not isinstance(said, type) else said
            if isinstance(result, Exception):
                raise result
            document["result"] = result
        except Refusal as refusal:
            document["error"] = {"code": refusal.code, "message": refusal.message}
        except Raw as raw:
            time.sleep(raw.delay_seconds)
            return raw.status, raw.body
        return 200, json.dumps(document).encode()


@contextmanager
def serving(endpoint: Endpoint, path: str = "/v2/s3cr3t-k3y") -> Iterator[Endpoint]:
    """The endpoint at a free port, under a path that is a secret, as those of the field have them."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == path
            status, body = endpoint.answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            with suppress(ConnectionError):  # whoever asked may have had enough
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    endpoint.url = f"http://127.0.0.1:{server.server_port}{path}"
    try:
        yield endpoint
    finally:
        server.shutdown()
        server.server_close()
