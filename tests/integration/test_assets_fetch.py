"""Downloads over real sockets: whole or not at all, from nowhere private, with nobody's credentials."""

import asyncio
import gzip
import hashlib
import socket
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from orchestrator.assets.client import AssetClient
from orchestrator.assets.errors import AddressRefused, CorruptAsset, SourceGone, SourceUnavailable, SpoolFailed
from orchestrator.assets.fetch import fetch
from orchestrator.assets.incoming import Berth, Fetched
from orchestrator.assets.spool import Spool

BODY = bytes(range(256)) * 4096
Fetch = Callable[..., Awaitable[Fetched]]


@dataclass
class Server:
    """Says exactly the bytes it was told to for each path, then closes the connection."""

    answers: dict[str, bytes] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    port: int = 0
    pause_seconds: float = 0
    is_answering: asyncio.Event = field(default_factory=asyncio.Event)
    is_closing: asyncio.Event = field(default_factory=asyncio.Event)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.tasks.add(asyncio.ensure_future(self.serve(reader, writer)))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.requests.append(head)
        answer = self.answers.get(head.split(" ")[1].partition("?")[0], b"HTTP/1.1 404 Not Found\r\n\r\n")
        writer.write(answer[: len(answer) // 2])
        self.is_answering.set()
        with suppress(TimeoutError):
            await asyncio.wait_for(self.is_closing.wait(), self.pause_seconds)
        writer.write(answer[len(answer) // 2 :])
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"


def answer(*headers: str, status: str = "200 OK", body: bytes = b"") -> bytes:
    return "\r\n".join((f"HTTP/1.1 {status}", *headers, "", "")).encode() + body


def files(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def chunked(*chunks: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    scripted = Server()
    listener = await asyncio.start_server(scripted.accept, "127.0.0.1", 0)
    scripted.port = listener.sockets[0].getsockname()[1]
    async with listener:
        yield scripted
        scripted.is_closing.set()
        await asyncio.gather(*scripted.tasks)


@contextmanager
def berth(folder: Path, *, memory_bytes: int = 0) -> Iterator[Berth]:
    """A file of the spool, and before it so much memory, half of it for bodies."""
    spool = Spool(folder, memory_bytes=memory_bytes)
    in_thread: Any = asyncio.to_thread
    with spool.memory.share() as memory:
        yield Berth(spool, "asset", memory, 2 * len(BODY), in_thread)


def content(fetched: Fetched) -> bytes:
    return fetched.content if isinstance(fetched.content, bytes) else fetched.content.read_bytes()


@pytest.fixture(params=[0, 32 * len(BODY)], ids=["to a file", "to memory"])
async def get(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Fetch]:
    """`fetch` with a client that may reach this machine; afterwards nothing unfinished is left."""
    async with AssetClient(allow_loopback=True) as client:

        async def get(url: str, **options: Any) -> Fetched:
            with berth(tmp_path, memory_bytes=request.param) as where:
                fetched = await fetch(client, url, where, **options)
            assert isinstance(fetched.content, bytes) == bool(request.param)
            return fetched

        yield get
    assert not any(name.endswith(".part") for name in files(tmp_path))


async def test_a_whole_body_is_hashed_and_counted(server: Server, get: Fetch) -> None:
    server.answers["/a"] = answer(f"Content-Length: {len(BODY)}", "Content-Type: image/PNG; x=1", body=BODY)
    fetched = await get(server.url("/a"))
    assert content(fetched) == BODY
    assert (fetched.hexdigest(), fetched.size_bytes) == (hashlib.sha256(BODY).hexdigest(), len(BODY))


@pytest.mark.parametrize("headers", [[], [f"Content-Length: {len(BODY)}"]])
async def test_a_body_that_finds_no_memory_becomes_a_file(server: Server, tmp_path: Path, headers: list[str]) -> None:
    """Also where that turns out in the middle of it. Memory is given back when a job is done."""
    server.answers["/a"] = answer(*headers, body=BODY)
    async with AssetClient(allow_loopback=True) as client:
        with berth(tmp_path, memory_bytes=len(BODY)) as where:
            fetched = await fetch(client, server.url("/a"), where)
            assert not where.memory.take(len(BODY) // 2)
        with where.spool.memory.share() as memory:
            assert memory.take(len(BODY) // 2)
    assert fetched.content == tmp_path / "asset"
    assert (content(fetched), fetched.hexdigest()) == (BODY, hashlib.sha256(BODY).hexdigest())


async def test_chunked_and_open_ended_bodies_arrive_too(server: Server, get: Fetch) -> None:
    server.answers["/chunked"] = answer("Transfer-Encoding: chunked", body=chunked(BODY, BODY, b""))
    server.answers["/open"] = answer(body=BODY)
    assert (await get(server.url("/chunked"))).size_bytes == 2 * len(BODY)
    assert content(await get(server.url("/open"))) == BODY


@pytest.mark.parametrize(
    "cut_short",
    [
        answer(f"Content-Length: {len(BODY) + 1}", body=BODY),
        answer("Content-Length: 1000"),
        answer("Transfer-Encoding: chunked", body=chunked(BODY)),
        answer("Transfer-Encoding: chunked", body=chunked(BODY)[:-100]),
        answer("Content-Encoding: gzip", body=gzip.compress(BODY)[:-5]),
        answer("Content-Type: image/png", body=BODY)[:20],
        b"",
        b"\x16\x03\x01 this is not HTTP\r\n\r\n",
    ],
)
async def test_a_body_known_to_be_cut_short_is_worth_another_try(
    server: Server, get: Fetch, tmp_path: Path, cut_short: bytes
) -> None:
    server.answers["/a"] = cut_short
    with pytest.raises(SourceUnavailable) as caught:
        await get(server.url("/a?signature=secret"))
    assert "secret" not in str(caught.value)
    assert files(tmp_path) == []


@pytest.mark.parametrize("status", [401, 403, 404, 410])
async def test_a_source_that_is_gone_says_so(server: Server, get: Fetch, status: int) -> None:
    server.answers["/a"] = answer("Content-Length: 0", status=f"{status} No")
    with pytest.raises(SourceGone) as caught:
        await get(server.url("/a?signature=secret"))
    assert caught.value.status == status
    assert caught.value.message == f"{server.url('/a')}: HTTP {status}"


@pytest.mark.parametrize("status", [204, 206, 304, 400, 429, 500, 502, 503, 504])
async def test_other_answers_are_worth_another_try(server: Server, get: Fetch, status: int) -> None:
    server.answers["/a"] = answer("Content-Length: 0", status=f"{status} No")
    with pytest.raises(SourceUnavailable) as caught:
        await get(server.url("/a"))
    assert caught.value.retry_after_seconds is None


async def test_the_source_may_say_when_to_come_back(server: Server, get: Fetch) -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    past = "Wed, 21 Oct 2015 07:28:00 GMT"
    seconds = []
    for value in ("120", soon, past, "soon", "-5", f"Mon, 01 Jan {'9' * 20} 00:00:00 GMT"):
        server.answers["/a"] = answer(f"Retry-After: {value}", "Content-Length: 0", status="429 Slow")
        with pytest.raises(SourceUnavailable) as caught:
            await get(server.url("/a"))
        seconds.append(caught.value.retry_after_seconds)
    assert seconds[0] == 120
    assert seconds[1] == pytest.approx(90, abs=5)
    assert seconds[2:] == [0, None, 0, None]


async def test_nothing_listening_is_worth_another_try(get: Fetch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(SourceUnavailable, match="ClientConnectorError"):
        await get(f"http://127.0.0.1:{port}/a")


async def test_a_body_that_takes_too_long_is_given_up(server: Server, get: Fetch) -> None:
    server.answers["/a"] = answer(f"Content-Length: {len(BODY)}", body=BODY)
    server.pause_seconds = 5
    with pytest.raises(SourceUnavailable, match="timed out"):
        await get(server.url("/a"), total_seconds=0.2)


async def test_a_body_over_the_limit_is_not_kept(server: Server, get: Fetch) -> None:
    server.answers["/a"] = answer(body=BODY)
    server.answers["/bomb"] = answer("Content-Encoding: gzip", body=gzip.compress(bytes(2 * len(BODY))))
    for path in ("/a", "/bomb"):
        with pytest.raises(CorruptAsset, match="larger"):
            await get(server.url(path), max_bytes=len(BODY) - 1)


async def test_gzip_against_our_wish_is_undone(server: Server, get: Fetch) -> None:
    packed = gzip.compress(BODY)
    server.answers["/a"] = answer("Content-Encoding: gzip", f"Content-Length: {len(packed)}", body=packed)
    assert (await get(server.url("/a"))).hexdigest() == hashlib.sha256(BODY).hexdigest()
    assert "accept-encoding: identity\r\n" in server.requests[0].lower()


async def test_a_small_body_that_holds_a_large_one_is_unpacked_in_pieces(server: Server, get: Fetch) -> None:
    """The limit is looked at before all of it is in memory."""
    packed = gzip.compress(bytes(48 * 1024**2), compresslevel=1)
    server.answers["/bomb"] = answer("Content-Encoding: gzip", f"Content-Length: {len(packed)}", body=packed)
    tracemalloc.start()
    try:
        with pytest.raises(CorruptAsset, match="larger"):
            await get(server.url("/bomb"), max_bytes=2 * 1024**2)
        assert tracemalloc.get_traced_memory()[1] < 12 * 1024**2
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("size", [1, 256 * 1024, 256 * 1024 + 1, 3 * 1024**2])
async def test_every_piece_of_a_packed_body_arrives(server: Server, tmp_path: Path, size: int) -> None:
    body = (b"0123456789abcdef" * 1024)[:size] * (size // 16_384 or 1) + b"end"
    packed = gzip.compress(body) + b"what follows the end"
    server.answers["/a"] = answer("Content-Encoding: gzip", body=packed)
    async with AssetClient(allow_loopback=True) as client:
        with berth(tmp_path) as where:
            assert content(await fetch(client, server.url("/a"), where)) == body


async def test_a_server_that_lies_about_gzip_is_not_believed(server: Server, get: Fetch) -> None:
    server.answers["/a"] = answer("Content-Encoding: gzip", body=BODY)
    assert (await get(server.url("/a"))).hexdigest() == hashlib.sha256(BODY).hexdigest()


async def test_the_url_is_sent_as_it_was_signed(server: Server, get: Fetch) -> None:
    server.answers["/x%2Fy/%41"] = answer(body=BODY)
    await get(server.url("/x%2Fy/%41?X-Amz-Credential=A%2F2026%2Fs3&sig=ab%2Bc%3D%7e+d#part"))
    assert server.requests[0].startswith("GET /x%2Fy/%41?X-Amz-Credential=A%2F2026%2Fs3&sig=ab%2Bc%3D%7e+d HTTP/1.1")


async def test_no_credentials_and_no_cookies_are_sent(
    server: Server, get: Fetch, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path_factory.mktemp("home") / "netrc"
    netrc.write_text("default login somebody password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    server.answers["/a"] = answer("Set-Cookie: seen=1", "Location: /b", "Content-Length: 0", status="302 Found")
    server.answers["/b"] = answer(body=BODY)
    await get(server.url("/a"))
    await get(server.url("/a"))
    sent = {line.partition(":")[0].lower() for head in server.requests for line in head.splitlines()[1:] if line}
    assert sent == {"host", "accept", "accept-encoding", "user-agent"}


async def test_redirects_are_followed_a_few_times(server: Server, get: Fetch) -> None:
    for number in range(6):
        server.answers[f"/{number}"] = answer(f"Location: {number + 1}", "Content-Length: 0", status="307 On")
    server.answers["/5"] = answer(body=BODY)
    assert (await get(server.url("/0"))).size_bytes == len(BODY)
    server.answers["/5"] = answer("Location: /6", "Content-Length: 0", status="307 On")
    server.answers["/6"] = answer(body=BODY)
    with pytest.raises(SourceUnavailable, match="more than 5 redirects"):
        await get(server.url("/0"))


@pytest.mark.parametrize(
    "location",
    [
        "http://169.254.169.254/latest/meta-data",
        "https://10.0.0.1/",
        "https://[::ffff:10.0.0.1]/",
        "http://example.com/a.png",
        "file:///etc/passwd",
        "https://user:secret@example.com/",
    ],
)
async def test_a_redirect_is_checked_like_a_first_request(server: Server, get: Fetch, location: str) -> None:
    server.answers["/a"] = answer(f"Location: {location}", "Content-Length: 0", status="302 Found")
    with pytest.raises(AddressRefused) as caught:
        await get(server.url("/a"))
    assert "secret" not in str(caught.value)


def resolve_to(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> list[str]:
    """From now on every name leads to `addresses`; returns the names asked for."""
    asked: list[str] = []

    async def getaddrinfo(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    return asked


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["10.0.0.1", "192.168.0.1"], ["169.254.169.254"]])
async def test_a_name_that_leads_to_a_private_address_is_refused(
    addresses: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = resolve_to(monkeypatch, *addresses)
    async with AssetClient() as client:
        with (
            berth(tmp_path) as where,
            pytest.raises(AddressRefused, match=r"^https://assets\.example/a: leads to a private address$"),
        ):
            await fetch(client, "https://assets.example/a?signature=secret", where)
    assert asked == ["assets.example"]


async def test_only_the_allowed_addresses_of_a_name_are_connected_to(
    server: Server, get: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answers["/a"] = answer(body=BODY)
    resolve_to(monkeypatch, "10.255.255.1", "127.0.0.1")
    fetched = await get(f"http://localhost:{server.port}/a")
    assert fetched.size_bytes == len(BODY)


async def test_a_private_proxy_is_used_but_not_for_this_machine(
    server: Server, get: Fetch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, f"http://me:word@127.0.0.1:{server.port}")
    server.answers["/a"] = answer(body=BODY)
    await get(server.url("/a"))
    assert server.requests.pop().startswith("GET /a HTTP/1.1")
    async with AssetClient() as client:
        with berth(tmp_path) as where:
            with pytest.raises(SourceUnavailable):
                await fetch(client, "https://assets.example/a", where)
            with pytest.raises(AddressRefused):
                await fetch(client, "https://10.0.0.1/a", where)
    (head,) = server.requests
    assert head.startswith("CONNECT assets.example:443 HTTP/1.1")
    assert "Proxy-Authorization: Basic bWU6d29yZA==" in head


async def test_a_spool_that_cannot_be_written_is_no_fault_of_the_source(server: Server, tmp_path: Path) -> None:
    server.answers["/a"] = answer(body=BODY)
    async with AssetClient(allow_loopback=True) as client:
        with berth(tmp_path / "spool") as where:
            (tmp_path / "spool").rmdir()
            with pytest.raises(SpoolFailed, match="No such file"):
                await fetch(client, server.url("/a"), where)


async def test_two_downloads_of_one_asset_do_not_disturb_each_other(server: Server, get: Fetch) -> None:
    server.answers["/a"] = answer(body=BODY)
    server.pause_seconds = 0.05
    fetched = await asyncio.gather(*(get(server.url("/a")) for _ in range(8)))
    assert len(set(fetched)) == 1
    assert content(fetched[0]) == BODY


async def test_a_cancelled_download_leaves_nothing(server: Server, get: Fetch, tmp_path: Path) -> None:
    server.answers["/a"] = answer(body=BODY)
    server.pause_seconds = 5
    task = asyncio.ensure_future(get(server.url("/a")))
    await server.is_answering.wait()
    await asyncio.sleep(0.05)  # most likely into the body
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert files(tmp_path) == []
