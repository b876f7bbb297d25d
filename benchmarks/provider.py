"""A fake provider, as fast as asyncio allows: `python -m benchmarks.provider PORT_FILE [--latency image]`.

It answers the routes that a job needs in the shapes of the guide, charges on arrival, and keeps the book of what was
charged, polled and seen. It speaks just enough HTTP/1.1 for the clients measured here.
"""

import argparse
import asyncio
import io
import json
import random
import time
import uuid
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from PIL import Image

from benchmarks.draws import LATENCIES, Latency

_ASSETS = 16
_NOISE_SIZE = (180, 185)
_DAY_SECONDS = 86_400
#: What the bundled catalogue says of the model.
_CREDITS = 14


@dataclass(slots=True)
class Entry:
    """What the provider knows of one job, by its prompt. Instants are Unix seconds."""

    charged_at: list[float] = field(default_factory=list)
    #: Charged, and the connection was gone before the answer could be sent.
    unanswered: int = 0
    done_at: float = 0.0
    seen_at: float | None = None
    polls: int = 0
    downloads: int = 0
    last_download_at: float | None = None


@dataclass(slots=True)
class Accepted:
    """A request: its jobs, when they are done, and the parts of its answer that do not change."""

    items: list[dict[str, object]]
    entries: list[Entry]
    created_at: float
    done_at: float
    seen: bool = False


class Book:
    """Everything charged; `document` is what the control route tells."""

    def __init__(self, latency: Latency, seed: int) -> None:
        self._latency = latency
        self._seed = seed
        self.entries: dict[str, Entry] = {}
        self.requests: dict[str, Accepted] = {}
        self.in_flight = 0
        self.max_in_flight = 0
        self.posts = 0

    @property
    def poll_after_seconds(self) -> float:
        return self._latency.poll_after_seconds

    def accept(self, items: list[dict[str, object]]) -> str:
        """Charges the items and returns the request's id."""
        now = time.time()
        self.posts += 1
        entries, done_at = [], now
        for item in items:
            prompt = str(item["prompt"])
            entry = self.entries.setdefault(prompt, Entry())
            entry.charged_at.append(now)
            entry.done_at = now + self._latency.seconds(prompt, self._seed)
            done_at = max(done_at, entry.done_at)
            entries.append(entry)
        request_id = str(uuid.uuid4())
        self.requests[request_id] = Accepted(items, entries, now, done_at)
        self.in_flight += len(items)
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        return request_id

    def look(self, request: Accepted) -> bool:
        """Counts a poll; whether the request is done."""
        now = time.time()
        for entry in request.entries:
            entry.polls += 1
        if now < request.done_at:
            return False
        if not request.seen:
            request.seen = True
            self.in_flight -= len(request.items)
            for entry in request.entries:
                entry.seen_at = now
        return True

    def document(self) -> dict[str, object]:
        return {
            "jobs": {prompt: asdict(entry) for prompt, entry in self.entries.items()},
            "posts": self.posts,
            "max_in_flight": self.max_in_flight,
        }


class Connection(asyncio.Protocol):
    """One client's connection: requests one after the other, also pipelined ones."""

    def __init__(self, site: "Site") -> None:
        self._site = site
        self._buffer = b""
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            length = _content_length(self._buffer[:end])
            whole = end + 4 + length
            if len(self._buffer) < whole:
                return
            body = self._buffer[end + 4 : whole]
            method, path, _ = self._buffer[: self._buffer.index(b"\r\n")].decode("latin-1").split(" ")
            self._buffer = self._buffer[whole:]
            self._site.handle(self, method, path, body)

    def reply(self, body: bytes, content_type: str = "application/json", status: str = "200 OK") -> None:
        head = f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
        self.transport.writelines((head.encode(), body))


def _content_length(head: bytes) -> int:
    lowered = head.lower()
    at = lowered.find(b"\r\ncontent-length:")
    return 0 if at < 0 else int(lowered[at + 17 :].split(b"\r\n", 1)[0])


class Site:
    """The routes."""

    def __init__(self, book: Book, origin: str, post_delay_seconds: float) -> None:
        self._book = book
        self._origin = origin
        self._post_delay_seconds = post_delay_seconds
        self._models = _models_document()
        self._assets = [_noise_png(number) for number in range(_ASSETS)]

    def handle(self, connection: Connection, method: str, path: str, body: bytes) -> None:
        path = path.partition("?")[0]
        match path.split("/")[1:]:
            case ["v1", "generation-requests"] if method == "POST":
                self._submit(connection, body)
            case ["v1", "generation-requests", request_id] if request_id in self._book.requests:
                connection.reply(self._poll(request_id))
            case ["assets", request_id, index]:
                connection.reply(self._download(request_id, int(index.partition(".")[0])), "image/png")
            case ["v1", "models"]:
                connection.reply(self._models)
            case ["v1", "me", "balance"]:
                connection.reply(b'{"credits": "10000000.0"}')
            case ["control", "book"]:
                connection.reply(json.dumps(self._book.document()).encode())
            case _:
                connection.reply(b'{"error": {"code": "not_found"}}', status="404 Not Found")

    def _submit(self, connection: Connection, body: bytes) -> None:
        request_id = self._book.accept(json.loads(body)["requests"])
        answer = self._answer(request_id, done=False)
        if self._post_delay_seconds == 0:
            connection.reply(answer)
            return
        asyncio.get_running_loop().call_later(
            self._post_delay_seconds, self._reply_late, connection, request_id, answer
        )

    def _reply_late(self, connection: Connection, request_id: str, answer: bytes) -> None:
        if connection.transport.is_closing():
            for entry in self._book.requests[request_id].entries:
                entry.unanswered += 1
            return
        connection.reply(answer)

    def _poll(self, request_id: str) -> bytes:
        return self._answer(request_id, done=self._book.look(self._book.requests[request_id]))

    def _answer(self, request_id: str, *, done: bool) -> bytes:
        request = self._book.requests[request_id]
        status = "completed" if done else "processing"
        spent = {"credits_spent": str(_CREDITS * len(request.items))} if done else {}
        document = {
            "request_id": request_id,
            "status": status,
            "created_at": _instant(request.created_at),
            "updated_at": _instant(request.done_at if done else request.created_at),
            "requests": request.items,
            "responses": [self._response(request_id, request, index, done=done) for index in range(len(request.items))],
            "poll_after_seconds": None if done else self._book.poll_after_seconds,
            "metadata": spent,
        }
        return json.dumps(document).encode()

    def _response(self, request_id: str, request: Accepted, index: int, *, done: bool) -> dict[str, object]:
        item = request.items[index]
        return {
            "job_id": f"{request_id[:-4]}{index:04}",
            "type": item["type"],
            "status": "completed" if done else "processing",
            "output_assets": [self._asset(request_id, index)] if done else [],
            "started_at": _instant(request.created_at),
            "completed_at": _instant(request.entries[index].done_at) if done else None,
            "metadata": {"model": item["model"], "credits_spent": str(_CREDITS)} if done else {"model": item["model"]},
        }

    def _asset(self, request_id: str, index: int) -> dict[str, object]:
        url = f"{self._origin}/assets/{request_id}/{index}.png"
        return {
            "kind": "image",
            "mime_type": "image/png",
            "url": url,
            "original_data_url": url,
            "thumbnail_image_url": "",
            "width": _NOISE_SIZE[0],
            "height": _NOISE_SIZE[1],
            "metadata": {},
            "expires_at": _instant(time.time() + 3 * _DAY_SECONDS),
        }

    def _download(self, request_id: str, index: int) -> bytes:
        entry = self._book.requests[request_id].entries[index]
        entry.downloads += 1
        entry.last_download_at = time.time()
        return self._assets[int(request_id[:4], 16) % _ASSETS]


def _instant(at: float) -> str:
    """RFC 3339 in tenths of a second, as the guide's whole seconds where everything takes ten times as long."""
    return f"{datetime.fromtimestamp(at, UTC).isoformat(timespec='milliseconds')[:21]}+00:00"


def _noise_png(number: int) -> bytes:
    """A picture of about 100 kB that decodes."""
    width, height = _NOISE_SIZE
    buffer = io.BytesIO()
    Image.frombytes("RGB", (width, height), random.Random(number).randbytes(3 * width * height)).save(buffer, "PNG")
    return buffer.getvalue()


def _models_document() -> bytes:
    """The catalogue that the orchestrator carries, as the provider would list it."""
    from orchestrator.catalog.bundled import bundled_catalog
    from orchestrator.sandbox.listing import models_document

    return json.dumps(models_document(bundled_catalog())).encode()


async def serve(arguments: argparse.Namespace) -> None:
    """Listens on a free port of this machine and writes its number to the file."""
    loop = asyncio.get_running_loop()
    book = Book(LATENCIES[arguments.latency], arguments.seed)
    sites: list[Site] = []
    server = await loop.create_server(lambda: Connection(sites[0]), "127.0.0.1", 0, backlog=4096)
    port = server.sockets[0].getsockname()[1]
    sites.append(Site(book, f"http://127.0.0.1:{port}", arguments.post_delay))
    unfinished = arguments.port_file.with_suffix(".part")
    unfinished.write_text(str(port))
    unfinished.rename(arguments.port_file)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description="A fake provider for benchmarks.")
    parser.add_argument("port_file", type=Path)
    parser.add_argument("--latency", choices=LATENCIES, default="zero")
    parser.add_argument("--post-delay", type=float, default=0.0, help="seconds before a submission is answered")
    parser.add_argument("--seed", type=int, default=0)
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
