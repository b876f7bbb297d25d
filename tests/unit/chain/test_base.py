"""Base: only a final block from after its time, in which an authorization is unused, proves that it cannot settle."""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from orchestrator.base.payments import CHAINS, Network
from orchestrator.chain.chains import Chains
from orchestrator.chain.word import ChainState, ChainWord, Outstanding

from .endpoint import Endpoint, Raw, Refusal, serving

SIGNED_AT = datetime(2026, 5, 10, 16, 20, tzinfo=UTC)
PAYMENT = Outstanding(
    Network.BASE,
    payer="0x2c7536E3605D9C16a7a3D7b1898e529396a65c23",
    nonce="0x" + "ab" * 32,
    since=SIGNED_AT,
    valid_before=SIGNED_AT + timedelta(minutes=8),
)
AFTER = int(SIGNED_AT.timestamp()) + 481
USED, UNUSED = "0x" + "0" * 63 + "1", "0x" + "0" * 64
NUMBER = 20_000_000
TRANSACTION = "0x" + "cd" * 32


def block_at(timestamp: int, number: int = NUMBER) -> dict[str, Any]:
    return {"number": hex(number), "hash": "0x" + "ef" * 32, "timestamp": hex(timestamp)}


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    """One that tells of an unused authorization whose time is over."""
    says = {"eth_chainId": "0x2105", "eth_getBlockByNumber": block_at(AFTER), "eth_call": UNUSED, "eth_getLogs": []}
    with serving(Endpoint(**says)) as running:
        yield running


@pytest.fixture
async def chains(endpoint: Endpoint) -> AsyncIterator[Chains]:
    async with Chains(endpoint.url, "http://127.0.0.1:9") as opened:
        yield opened


async def test_unused_in_a_final_block_after_its_time(endpoint: Endpoint, chains: Chains) -> None:
    word = await chains.word(PAYMENT)
    assert (word.state, word.transaction) == (ChainState.CANNOT_SETTLE, None)
    assert word.evidence == {
        "network": "base",
        "looks": [
            {
                "rpc": "127.0.0.1",
                "chain_id": 8453,
                "block": NUMBER,
                "block_hash": "0x" + "ef" * 32,
                "block_timestamp": AFTER,
                "valid_before": "2026-05-10T16:28:00Z",
                "authorization_used": False,
            }
        ],
    }


async def test_it_asks_the_contract_at_that_very_block(endpoint: Endpoint, chains: Chains) -> None:
    await chains.word(PAYMENT)
    assert endpoint.calls_of("eth_getBlockByNumber") == [["finalized", False]]
    data = "0xe94a0102" + "0" * 24 + PAYMENT.payer[2:].lower() + "ab" * 32
    assert endpoint.calls_of("eth_call") == [[{"to": CHAINS[Network.BASE].usdc, "data": data}, hex(NUMBER)]]


@pytest.mark.parametrize(("seconds", "state"), [(-1, "open"), (0, "open"), (1, "cannot-settle")])
async def test_until_a_final_block_is_later_nothing_is_certain(
    endpoint: Endpoint, chains: Chains, seconds: int, state: str
) -> None:
    endpoint.says["eth_getBlockByNumber"] = block_at(AFTER - 1 + seconds)
    assert (await chains.word(PAYMENT)).state == state


@pytest.mark.parametrize("seconds", [-300, 300])
async def test_used_is_settled_whatever_the_time(endpoint: Endpoint, chains: Chains, seconds: int) -> None:
    endpoint.says |= {"eth_getBlockByNumber": block_at(AFTER + seconds), "eth_call": USED}
    endpoint.says["eth_getLogs"] = [{"transactionHash": TRANSACTION}]
    assert await word_of(chains) == (ChainState.SETTLED, TRANSACTION)
    (query,) = endpoint.calls_of("eth_getLogs")[0]
    assert query["topics"] == [
        "0x98de503528ee59b575ef0c0a2576a82497bfc029a5685b209e9ec333479b10a5",
        "0x" + PAYMENT.payer[2:].lower().rjust(64, "0"),
        PAYMENT.nonce,
    ]
    first, last = int(query["fromBlock"], 16), int(query["toBlock"], 16)
    signed_in = NUMBER - (480 + 1 + seconds) // 2
    assert first < signed_in <= last <= NUMBER
    assert last - first < 1000  # many endpoints refuse more


@pytest.mark.parametrize("logs", [[], None, ["x"], [{}], Refusal("range too large"), Raw(b"", 500)])
async def test_it_is_settled_also_where_no_log_is_found(endpoint: Endpoint, chains: Chains, logs: Any) -> None:
    endpoint.says |= {"eth_call": USED, "eth_getLogs": logs}
    assert await word_of(chains) == (ChainState.SETTLED, None)


@pytest.mark.parametrize(
    "lie",
    [
        {"eth_chainId": "0x14a34"},
        {"eth_chainId": "0x1"},
        {"eth_chainId": None},
        {"eth_chainId": "base"},
        {"eth_chainId": 8453},
        {"eth_getBlockByNumber": None},
        {"eth_getBlockByNumber": {"number": "0x1"}},
        {"eth_getBlockByNumber": {"number": "0x1", "hash": "0x2"}},
        {"eth_getBlockByNumber": Refusal("finalized is not supported")},
        {"eth_call": "0x"},
        {"eth_call": None},
        {"eth_call": "0x" + "0" * 63 + "2"},
        {"eth_call": "0x" + "z" * 64},
        {"eth_call": Refusal("header not found")},
        {"eth_call": Raw(b"<html>", 502)},
    ],
)
async def test_an_endpoint_that_is_of_no_use_proves_nothing(
    endpoint: Endpoint, chains: Chains, lie: dict[str, Any]
) -> None:
    endpoint.says |= lie
    word = await chains.word(PAYMENT)
    assert word.state is ChainState.OPEN
    assert "127.0.0.1" in word.evidence["looks"][0]["problem"]


async def test_one_endpoint_has_to_say_it_twice_several_once(endpoint: Endpoint) -> None:
    assert Chains(endpoint.url, endpoint.url).looks_needed(Network.BASE) == 2
    assert Chains(f"{endpoint.url},{endpoint.url} ", endpoint.url).looks_needed(Network.BASE) == 2
    assert Chains(f"{endpoint.url}, https://rpc.example", endpoint.url).looks_needed(Network.BASE) == 1


@pytest.mark.parametrize(
    ("other", "together"),
    [
        ({"eth_call": UNUSED}, ChainState.CANNOT_SETTLE),
        ({"eth_call": USED}, ChainState.OPEN),
        ({"eth_getBlockByNumber": block_at(AFTER - 60)}, ChainState.OPEN),
        ({"eth_call": Raw(b"", 500)}, ChainState.OPEN),
    ],
)
async def test_several_endpoints_have_to_agree(endpoint: Endpoint, other: dict[str, Any], together: ChainState) -> None:
    with serving(Endpoint(**endpoint.says | other)) as second:
        async with Chains(f"{endpoint.url},{second.url}", "") as chains:
            word = await chains.word(PAYMENT)
    assert word.state is together
    assert len(word.evidence["looks"]) == 2
    assert ("disagreement" in word.evidence) == (together is ChainState.OPEN)


async def test_no_evidence_tells_a_url(endpoint: Endpoint, chains: Chains) -> None:
    for answer in (UNUSED, USED, Refusal(f"no such project {endpoint.url}"), Raw(b"", 401)):
        endpoint.says["eth_call"] = answer
        assert "s3cr3t" not in repr(await chains.word(PAYMENT))


async def test_without_an_endpoint_nothing_is_known() -> None:
    async with Chains("", "") as chains:
        assert (await chains.word(PAYMENT)).state is ChainState.OPEN


async def word_of(chains: Chains) -> tuple[ChainState, str | None]:
    word: ChainWord = await chains.word(PAYMENT)
    return word.state, word.transaction
