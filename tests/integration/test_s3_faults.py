"""An S3 server that refuses, stumbles, or stores an object and never says so: it is asked again, and stores it once."""

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from orchestrator.assets import s3
from orchestrator.assets.destination import open_destination
from orchestrator.assets.errors import DestinationFailed

DATA = b"picture"
DIGEST = hashlib.sha256(DATA).hexdigest()
#: What the server does with the first PUT: the status and S3's code for it, or that nobody hears what became of it.
FAULTS: dict[str, tuple[int, str] | None] = {
    "SlowDown": (503, "SlowDown"),
    "InternalError": (500, "InternalError"),
    "AccessDenied": (403, "AccessDenied"),
    "NoSuchBucket": (404, "NoSuchBucket"),
    "BadDigest": (400, "BadDigest"),
    "stored, and no answer": None,
}


class Bucket(BaseHTTPRequestHandler):
    """Keeps objects; a second PUT of a key under a condition is refused, as S3 does."""

    protocol_version = "HTTP/1.1"
    server: "Server"

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.server.faults:
            fault = self.server.faults.pop()
            if fault is not None:
                self._answer(fault[0], fault[1])
                return
            self.server.objects[self.path] = (body, self.headers["x-amz-meta-sha256"])
            self.close_connection = True
            return
        if self.path in self.server.objects:
            self._answer(412, "PreconditionFailed")
            return
        self.server.objects[self.path] = (body, self.headers["x-amz-meta-sha256"])
        self._answer(200)

    def do_HEAD(self) -> None:
        found = self.server.objects.get(self.path)
        self._answer(200 if found else 404, sha256=found[1] if found else None)

    def _answer(self, status: int, code: str = "", sha256: str | None = None) -> None:
        body = f"<Error><Code>{code}</Code></Error>".encode() if code else b""
        self.send_response(status)
        if sha256:
            self.send_header("x-amz-meta-sha256", sha256)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return


class Server(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Bucket)
        self.faults: list[tuple[int, str] | None] = []
        self.objects: dict[str, tuple[bytes, str]] = {}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with Server() as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{running.server_address[1]}")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATESTONLY")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-a-secret")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        s3.s3_client.cache_clear()
        yield running
        running.shutdown()
    s3.s3_client().close()
    s3.s3_client.cache_clear()


@pytest.mark.parametrize("fault", FAULTS)
def test_what_s3_does_not_take_is_offered_again_and_stored_once(server: Server, tmp_path: Path, fault: str) -> None:
    server.faults = [FAULTS[fault]]
    (tmp_path / "asset").write_bytes(DATA)
    destination = open_destination("s3://bucket")

    def put() -> str:
        return destination.put("a/b.png", tmp_path / "asset", sha256=DIGEST, content_type="image/png", metadata={})

    with pytest.raises(DestinationFailed) as caught:
        put()
    assert "not-a-secret" not in f"{caught.value} {caught.value.hint}"
    assert put() == put() == "s3://bucket/a/b.png"
    assert server.objects == {"/bucket/a/b.png": (DATA, DIGEST)}
