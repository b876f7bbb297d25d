"""JSON-RPC: what is no answer is none, and no error tells a URL."""

import asyncio
import logging

import pytest

from orchestrator.chain import rpc
from orchestrator.chain.rpc import Rpc, RpcUnavailable

from .endpoint import Endpoint, Raw, Refusal, serving

#: A key as it stands in the path of many an endpoint.
KEY = "s3cr3t-k3y"


async def problem_of(answer: object) -> str:
    with serving(Endpoint(eth_chainId=answer)) as endpoint:
        client = Rpc(endpoint.url)
        with pytest.raises(RpcUnavailable) as caught:
            await client.call("eth_chainId")
        await client.aclose()
    assert KEY not in caught.value.reason
    assert caught.value.__cause__ is None
    assert caught.value.reason.startswith("127.0.0.1 did not answer eth_chainId: ")
    return caught.value.reason


async def test_a_result_is_given_as_it_is() -> None:
    with serving(Endpoint(eth_call=lambda *params: {"params": params})) as endpoint:
        client = Rpc(endpoint.url)
        assert await client.call("eth_call", {"to": "0x1"}, "0x2") == {"params": [{"to": "0x1"}, "0x2"]}
        assert await client.call("eth_call") == {"params": []}
        endpoint.says["eth_call"] = None
        assert await client.call("eth_call") is None
        await client.aclose()


@pytest.mark.parametrize(
    "answer",
    [
        Raw(b"<html>busy</html>", 502),
        Raw(b"", 429),
        Raw(b'{"jsonrpc": "2.0", "id": 1, "resu'),
        Raw(b'{"jsonrpc": "2.0", "id": 99, "result": "0x1"}'),
        Raw(b'[{"jsonrpc": "2.0", "id": 1, "result": "0x1"}]'),
        Raw(b"[" * 1_000_000),
        Raw(b"\xff\xfe"),
        Raw(b'{"jsonrpc": "2.0", "id": 1}'),
        Raw(b'{"jsonrpc": "2.0", "id": 1, "error": "no"}'),
    ],
)
async def test_what_is_no_answer(answer: Raw) -> None:
    await problem_of(answer)


async def test_a_refusal_is_told_in_its_own_words_but_without_the_key() -> None:
    problem = await problem_of(Refusal(f"project\nid   {KEY} is over its limit" + "!" * 1000, -32005))
    assert "project id *** is over its limit" in problem
    assert len(problem) < 300


async def test_an_answer_that_is_absurdly_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rpc, "_LONGEST_ANSWER_BYTES", 1000)
    assert "the connection failed" in await problem_of("x" * 2000)


async def test_an_endpoint_that_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rpc, "DEADLINE_SECONDS", 0.1)
    assert "no answer within 0.1 seconds" in await problem_of(Raw(b"", delay_seconds=0.5))


@pytest.mark.parametrize(
    "url", [f"http://127.0.0.1:9/{KEY}", f"https://127.0.0.1:9/{KEY}", f"http://nobody.invalid/{KEY}"]
)
async def test_an_endpoint_that_is_not_there(url: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    client = Rpc(url)
    with pytest.raises(RpcUnavailable) as caught:
        await client.call("eth_chainId")
    await client.aclose()
    assert KEY not in caught.value.reason + repr(caught.value) + caplog.text


async def test_no_log_tells_a_url(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with serving(Endpoint(eth_chainId="0x2105")) as endpoint:
        client = Rpc(endpoint.url)
        await asyncio.gather(*(client.call("eth_chainId") for _ in range(5)))
        await client.aclose()
    assert KEY not in caplog.text
