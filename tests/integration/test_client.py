"""The provider's client against servers that misbehave on the wire: what was reached decides, not what was raised."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from orchestrator.katana import carrier, line
from orchestrator.katana import client as katana
from orchestrator.katana.carrier import Request
from orchestrator.katana.client import KatanaClient
from orchestrator.katana.line import ProviderUnavailable
from orchestrator.katana.verdict import Kind, Reply
from orchestrator.sandbox import FaultRule, Faults, Sandbox

from ..carriers import Answers

HEADERS = {"X-API-Key": "key", "X-API-Secret": "s3cret"}
BODY = b'{"requests":[]}'
OK = b'{"request_id":"r-1","status":"queued"}'

#: Whatever they meet, an error may echo it, and in JSON it is written otherwise.
LONG_HEADERS = {"X-API-Key": "the-key-of-katana", "X-API-Secret": 'the "secret" of katana'}

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """A raw TCP server on loopback; counts its connections and keeps what each of them sent."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self.connections = 0
        self.received: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            await self._handler(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def request(self, reader: asyncio.StreamReader) -> bytes:
        """One whole request, kept in `received`."""
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            (int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")), 0
        )
        whole = head + await reader.readexactly(length)
        self.received.append(whole)
        return whole


@asynccontextmanager
async def serving(handler: Callable[[Server], Handler]) -> AsyncIterator[tuple[Server, str]]:
    server: Server
    server = Server(lambda reader, writer: handler(server)(reader, writer))
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    async with listening:
        yield server, f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"


def answering(*parts: bytes, pause_seconds: float = 0, close: bool = True) -> Callable[[Server], Handler]:
    """Reads requests and answers each with `parts`, pausing between them."""

    def of(server: Server) -> Handler:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                await server.request(reader)
                for part in parts:
                    writer.write(part)
                    await writer.drain()
                    await asyncio.sleep(pause_seconds)
                if close:
                    return

        return handle

    return of


def http(body: bytes, status: str = "200 OK", *headers: str, length: int | None = None) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def submit_to(url: str) -> tuple[Kind, str]:
    async with KatanaClient(url, HEADERS) as client:
        verdict = await client.submit(BODY)
    return verdict.kind, verdict.reason


async def test_a_refused_connection_sent_nothing() -> None:
    kind, reason = await submit_to(f"http://127.0.0.1:{closed_port()}")
    assert kind is Kind.NOT_SENT
    assert reason == "cannot connect"


@pytest.mark.parametrize(
    "answer",
    [
        http(OK).replace(b"200 OK", "200 Réussi".encode("latin-1")),
        http(OK).replace(b"\r\n\r\n", b"\r\nPAYMENT-RESPONSE: " + b"a" * 20_000 + b"\r\n\r\n"),
    ],
    ids=["words of a localised proxy", "a long header"],
)
async def test_an_answer_in_odd_form_is_an_answer(answer: bytes) -> None:
    async with serving(answering(answer)) as (_, url), KatanaClient(url, HEADERS) as client:
        assert (await client.submit(BODY)).kind is Kind.ACCEPTED
        assert (await client.poll("r-1")).answer.request_id == "r-1"


async def test_an_unknown_host_sent_nothing() -> None:
    kind, _ = await submit_to("https://no-such-host.invalid")
    assert kind is Kind.NOT_SENT


async def test_a_server_that_speaks_no_tls_got_nothing() -> None:
    async def answer_at_once(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(http(OK))
        await writer.drain()

    async with serving(lambda _: answer_at_once) as (_, url):
        kind, _ = await submit_to(url.replace("http:", "https:"))
    assert kind is Kind.NOT_SENT


async def test_a_connection_that_never_opens_sent_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carrier, "_CONNECT_SECONDS", 0.2)
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        with socket.create_connection(full.getsockname()), socket.socket() as second:
            second.setblocking(False)
            second.connect_ex(full.getsockname())
            kind, _ = await submit_to(f"http://127.0.0.1:{full.getsockname()[1]}")
    assert kind is Kind.NOT_SENT


async def test_a_server_that_hangs_up_before_it_reads_leaves_it_unknown() -> None:
    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with serving(lambda _: hang_up) as (_, url):
        assert (await submit_to(url))[0] is Kind.UNKNOWN


@pytest.mark.parametrize(
    "parts",
    [
        (),
        (b"HTTP/1.1 200 OK\r\nContent-Le",),
        (http(OK[:10], length=len(OK)),),
        (b"HTTP/1.1 200 OK\r\n\r\n" + OK[:10],),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n" + OK[:5],),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\nnot gzip",),
        (b"\x00\x01\x02 no HTTP at all\r\n\r\n",),
        (http(b"<h1>Bad Gateway</h1>", "502 Bad Gateway"),),
        (http(b'{"error": "down"}', "503 Service Unavailable"),),
        (http(b"<h1>Sign in</h1>", "403 Forbidden"),),
    ],
    ids=["nothing", "half-head", "short", "no-length", "half-chunk", "bad-gzip", "noise", "502", "503", "403-html"],
)
async def test_a_broken_answer_leaves_it_unknown(parts: tuple[bytes, ...]) -> None:
    async with serving(answering(*parts)) as (server, url):
        assert (await submit_to(url))[0] is Kind.UNKNOWN
    assert len(server.received) == 1, "and nothing was tried again"


async def test_what_is_too_late_is_not_sent() -> None:
    async with serving(answering(http(OK))) as (server, url), KatanaClient(url, {}) as client:
        verdict = await client.submit(b"{}", send_before=datetime.now(UTC))
        assert (verdict.kind, verdict.reason) == (Kind.NOT_SENT, "its time to be sent is over")
        await client.submit(b"{}", send_before=datetime.now(UTC) + timedelta(minutes=1))
    assert len(server.received) == 1


async def test_a_reset_after_the_request_was_read_leaves_it_unknown() -> None:
    def of(server: Server) -> Handler:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await server.request(reader)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            writer.transport.abort()

        return handle

    async with serving(of) as (_, url):
        assert (await submit_to(url))[0] is Kind.UNKNOWN


@pytest.mark.parametrize(
    "parts", [(b"",), (b"HTTP/1.1 200 OK\r\n",), (http(b"", length=9),)], ids=["silent", "head", "body"]
)
async def test_the_whole_post_has_a_deadline(monkeypatch: pytest.MonkeyPatch, parts: tuple[bytes, ...]) -> None:
    monkeypatch.setattr(line, "PAY_DEADLINE_SECONDS", 0.3)
    async with serving(answering(*parts, pause_seconds=5)) as (_, url):
        async with asyncio.timeout(3):
            assert (await submit_to(url))[0] is Kind.UNKNOWN


async def test_an_answer_that_trickles_in_is_read_whole() -> None:
    whole = http(OK)
    async with serving(answering(whole[:20], whole[20:60], whole[60:], pause_seconds=0.02)) as (_, url):
        assert (await submit_to(url))[0] is Kind.ACCEPTED


async def test_exactly_the_body_leaves_with_the_credentials_and_no_wait() -> None:
    async with serving(answering(http(OK))) as (server, url):
        await submit_to(url)
    [request] = server.received
    assert request.startswith(b"POST /v1/generation-requests?wait=false HTTP/1.1\r\n")
    assert request.endswith(b"\r\n\r\n" + BODY)
    assert b"x-api-key: key\r\n" in request.replace(b"X-API-Key", b"x-api-key")


async def test_every_post_has_a_connection_of_its_own() -> None:
    async with serving(answering(http(OK), close=False)) as (server, url), KatanaClient(url, HEADERS) as client:
        assert [(await client.submit(BODY)).kind for _ in range(3)] == [Kind.ACCEPTED] * 3
    assert server.connections == 3


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"])
async def test_a_redirect_of_a_post_is_not_followed(status: str) -> None:
    async with (
        serving(answering(http(OK))) as (elsewhere, target),
        serving(answering(http(b"{}", status, f"Location: {target}"))) as (_, url),
    ):
        assert (await submit_to(url))[0] is Kind.UNKNOWN
    assert elsewhere.connections == 0


async def test_an_endless_answer_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carrier, "_MAX_BODY_BYTES", 1000)
    async with serving(answering(http(b" " * 5000))) as (_, url):
        assert (await submit_to(url))[0] is Kind.UNKNOWN


async def test_a_proxy_that_cannot_connect_sent_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(answering(http(b"", "502 Bad Gateway"))) as (proxy, proxy_url):
        monkeypatch.setenv("HTTPS_PROXY", proxy_url)
        assert (await submit_to("https://kat.example"))[0] is Kind.NOT_SENT
        async with KatanaClient("https://kat.example", HEADERS) as client:
            with pytest.raises(ProviderUnavailable):
                await client.balance()
    assert [request.split(b"\r\n")[0] for request in proxy.received] == [b"CONNECT kat.example:443 HTTP/1.1"] * 2
    assert b"s3cret" not in b"".join(proxy.received)


async def test_a_proxy_that_asks_for_a_password_got_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(answering(http(b"{}", "407 Proxy Authentication Required"))) as (_, proxy_url):
        monkeypatch.setenv("HTTPS_PROXY", proxy_url)
        assert (await submit_to("https://kat.example"))[0] is Kind.NOT_SENT


async def test_no_proxy_stands_before_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{closed_port()}")
    async with serving(answering(http(OK))) as (_, url):
        assert (await submit_to(url))[0] is Kind.ACCEPTED


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (http(b"<html>"), 200),
        (http(b"{}"), 200),
        (http(b"[]"), 200),
        (http(b'{"error": {"message": "gone"}}', "404 Not Found"), 404),
        (http(b"", "302 Found", "Location: /elsewhere"), 302),
        (http(b"<html>", "502 Bad Gateway"), 502),
        (http(OK[:9], length=99), 200),
        (b"", None),
    ],
)
async def test_a_poll_without_a_word_is_unavailable(answer: bytes, status: int | None) -> None:
    async with serving(answering(answer)) as (_, url), KatanaClient(url, HEADERS) as client:
        with pytest.raises(ProviderUnavailable) as caught:
            await client.poll("r-1")
    assert caught.value.status == status


async def test_the_answer_about_another_request_is_not_believed() -> None:
    async with serving(answering(http(OK))) as (_, url), KatanaClient(url, HEADERS) as client:
        assert (await client.poll("r-1")).answer.status == "queued"
        with pytest.raises(ProviderUnavailable, match="another request"):
            await client.poll("r-2")


@pytest.mark.parametrize("request_id", ["../me/balance?x=é /#", "..", ".", "€%2F"])
async def test_a_request_id_cannot_leave_its_path(request_id: str) -> None:
    async with serving(answering(http(OK))) as (server, url), KatanaClient(url, HEADERS) as client:
        with pytest.raises(ProviderUnavailable):
            await client.poll(request_id)
    for request in server.received:
        path = request.split(b" ")[1]
        assert path.startswith(b"/v1/generation-requests/")
        assert path.count(b"/") == 3
        assert b"?" not in path


async def test_a_balance_is_exact_or_unavailable(tmp_path: Path) -> None:
    with Sandbox(tmp_path, time_scale=0, balance=Decimal("12.3")) as sandbox:
        async with KatanaClient(sandbox.base_url, HEADERS) as client:
            assert await client.balance() == Decimal("12.3")
            sandbox.play(Faults.of(FaultRule(at="balance", kind="429", retry_after=7)))
            with pytest.raises(ProviderUnavailable) as caught:
                await client.balance()
            assert (caught.value.status, caught.value.retry_after_seconds) == (429, 7)


@pytest.mark.parametrize("body", [b"{}", b"[]", b'{"credits": "-1"}', b'{"credits": "NaN"}', b"2000", b"<html>"])
async def test_an_odd_balance_is_unavailable(body: bytes) -> None:
    async with serving(answering(http(body))) as (_, url), KatanaClient(url, HEADERS) as client:
        with pytest.raises(ProviderUnavailable):
            await client.balance()


async def test_no_secret_is_in_a_verdict_or_an_error() -> None:
    async with KatanaClient(f"http://127.0.0.1:{closed_port()}", HEADERS) as client:
        verdict = await client.submit(BODY)
        with pytest.raises(ProviderUnavailable) as caught:
            await client.poll("r-1")
    assert "s3cret" not in f"{verdict!r} {client!r} {caught.value!r}"


async def test_a_text_is_paid_with_one_bearer_token() -> None:
    """Guide, "Text / LLM Chat Completion Basics": the key and the secret in `Authorization`, and nowhere else."""
    text = b'{"id":"c-1","choices":[{"message":{"content":"Hello"},"finish_reason":"stop"}]}'
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(text), text)
    async with serving(answering(answer)) as (server, url), KatanaClient(url, HEADERS) as client:
        verdict = await client.submit(b'{"model":"m"}', call=katana.CHAT)
    (request,) = server.received
    assert verdict.kind is Kind.ACCEPTED
    assert verdict.completion is not None
    assert verdict.completion.text == "Hello"
    assert request.startswith(b"POST /v1/chat/completions HTTP/1.1")
    assert b"authorization: bearer key:s3cret" in request.lower()
    assert b"x-api-" not in request.lower()


async def test_an_attestation_is_asked_for_with_the_same_token() -> None:
    """Guide, "Privacy proof example": its one header is `Authorization: Bearer KEY:SECRET`."""
    async with serving(answering(http(b'{"nonce":"n"}'))) as (server, url), KatanaClient(url, HEADERS) as client:
        assert await client.attestation("kimi-k2-6-private", "n") == {"nonce": "n"}
    (asked,) = server.received
    assert b"authorization: bearer key:s3cret" in asked.lower()
    assert b"x-api-" not in asked.lower()


async def test_what_the_provider_says_has_none_of_the_credentials_that_it_echoes() -> None:
    def echo(request: Request) -> Reply:
        heard = request.headers.get("Authorization") or " ".join(request.headers[name] for name in LONG_HEADERS)
        proof = request.headers["X-Sign-In-With-X"]
        error = {"error": {"code": "forbidden", "message": f"no {heard} {proof}"}}
        return Reply(403, {}, json.dumps(error).encode())

    proof = {"X-Sign-In-With-X": "the-proof-of-a-wallet"}
    answers_it = Answers(echo)
    async with KatanaClient("http://p.test", LONG_HEADERS, proof=lambda _: proof, carrier=answers_it) as client:
        verdict = await client.submit(BODY)
        assert verdict.problem is not None
        assert verdict.problem.message == "no *** *** ***"
        chat = await client.submit(BODY, call=katana.CHAT)
        assert chat.reason == "HTTP 403: no Bearer ***:*** ***"
        with pytest.raises(ProviderUnavailable, match=r"^HTTP 403: no \*\*\* \*\*\* \*\*\*$"):
            await client.poll("r-1")


async def test_what_was_paid_for_comes_through_whatever_letters_it_has() -> None:
    """A key may well be a part of the URLs of its files; of the words of an error it is taken out."""
    url = f"https://cdn.test/{LONG_HEADERS['X-API-Key']}/a.png"
    done = {"output_assets": [{"original_data_url": url}]}
    answers = [
        {"request_id": "r-1", "status": "completed", "responses": [done]},
        {"request_id": "r-1", "responses": [done, {"error": {"message": f"{LONG_HEADERS['X-API-Secret']} is spent"}}]},
    ]
    answers_it = Answers(lambda _: Reply(200, {}, json.dumps(answers.pop(0)).encode()))
    async with KatanaClient("http://p.test", LONG_HEADERS, carrier=answers_it) as client:
        whole, partly = [(await client.poll("r-1")).answer for _ in range(2)]
    assert whole.responses[0].output_assets[0].source == partly.responses[0].output_assets[0].source == url
    assert partly.responses[1].error == {"message": "*** is spent"}
