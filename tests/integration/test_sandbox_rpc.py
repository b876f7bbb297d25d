"""The sandbox's endpoints of the virtual chains tell the truth about payments, and lie on demand."""

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from orchestrator.base.payments import Network
from orchestrator.chain.chains import Chains
from orchestrator.chain.word import ChainState, ChainWord, Outstanding
from orchestrator.sandbox import FaultRule, Faults, Sandbox

from ..x402_wallets import BaseWallet, decoded, offers
from .paid_sandbox import BODY, POSTS, FakeTime, client, clock, sandbox

__all__ = ["client", "clock", "sandbox"]

USDC = "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913"


def ask(client: httpx.Client, method: str, *params: Any) -> Any:
    answer = client.post("/rpc/base", json={"jsonrpc": "2.0", "id": 7, "method": method, "params": params}).json()
    assert answer["id"] == 7
    return answer.get("result", answer.get("error"))


def pay(client: httpx.Client, wallet: BaseWallet, clock: FakeTime) -> tuple[str, httpx.Response]:
    """A paid request; its nonce and its answer."""
    header = wallet.pay(offers(client.post(POSTS, json=BODY))[0], now=clock.now)
    nonce = decoded(header)["payload"]["authorization"]["nonce"]
    return nonce, client.post(POSTS, json=BODY, headers={"PAYMENT-SIGNATURE": header})


def state(client: httpx.Client, wallet: BaseWallet, nonce: str, tag: str = "finalized") -> int:
    data = "0xe94a0102" + wallet.address[2:].lower().rjust(64, "0") + nonce[2:]
    return int(ask(client, "eth_call", {"to": USDC, "data": data}, tag), 16)


async def word(sandbox: Sandbox, wallet: BaseWallet, nonce: str, clock: FakeTime, valid_before: float) -> ChainWord:
    since = datetime.fromtimestamp(clock.now - 3600, UTC)
    outstanding = Outstanding(
        Network.BASE, wallet.address, nonce, since, valid_before=datetime.fromtimestamp(valid_before, UTC)
    )
    async with Chains(f"{sandbox.base_url}/rpc/base", f"{sandbox.base_url}/rpc/solana") as chains:
        return await chains.word(outstanding)


def test_blocks_follow_the_clock(client: httpx.Client, clock: FakeTime) -> None:
    assert ask(client, "eth_chainId") == "0x2105"
    block = ask(client, "eth_getBlockByNumber", "finalized", False)
    assert clock.now - 2 <= int(block["timestamp"], 16) <= clock.now
    clock.now += 10
    assert int(ask(client, "eth_blockNumber"), 16) == int(block["number"], 16) + 5


def test_an_authorization_is_used_as_of_its_block(client: httpx.Client, clock: FakeTime) -> None:
    wallet, before = BaseWallet(), ask(client, "eth_blockNumber")
    clock.now += 10
    nonce, answer = pay(client, wallet, clock)
    assert answer.status_code == 200
    assert (state(client, wallet, nonce), state(client, wallet, nonce, before)) == (1, 0)
    assert state(client, wallet, "0x" + "00" * 32) == 0
    assert state(client, BaseWallet(), nonce) == 0
    data = "0x70a08231" + wallet.address[2:].lower().rjust(64, "0")
    assert int(ask(client, "eth_call", {"to": USDC, "data": data}, "latest"), 16) == 1_000_000_000 - 76_738
    assert ask(client, "eth_call", {"to": USDC, "data": data}, "0xfffffff")["message"] == "header not found"


async def test_our_own_look_agrees(client: httpx.Client, clock: FakeTime, sandbox: Sandbox) -> None:
    wallet = BaseWallet()
    nonce, answer = pay(client, wallet, clock)
    settled = await word(sandbox, wallet, nonce, clock, clock.now + 300)
    receipt = decoded(answer.headers["PAYMENT-RESPONSE"])
    assert (settled.state, settled.transaction) == (ChainState.SETTLED, receipt["transaction"])
    never = "0x" + "ab" * 32
    assert (await word(sandbox, wallet, never, clock, clock.now + 300)).state is ChainState.OPEN
    assert (await word(sandbox, wallet, never, clock, clock.now - 30)).state is ChainState.CANNOT_SETTLE


async def test_a_late_settlement_shows_when_it_lands(client: httpx.Client, clock: FakeTime, sandbox: Sandbox) -> None:
    sandbox.play(Faults.of(FaultRule(at="submit", kind="late-settlement", seconds=60)))
    wallet = BaseWallet()
    nonce, answer = pay(client, wallet, clock)
    assert answer.status_code == 402
    assert state(client, wallet, nonce) == 0
    clock.now += 61
    assert state(client, wallet, nonce) == 1
    assert (await word(sandbox, wallet, nonce, clock, clock.now + 240)).state is ChainState.SETTLED
    assert sandbox.charges() == []


@pytest.mark.parametrize(("kind", "seen"), [("lying", 0), ("lagging", 0), (None, 1)])
def test_an_endpoint_that_lies_or_lags_sees_no_payment(
    client: httpx.Client, clock: FakeTime, sandbox: Sandbox, kind: str | None, seen: int
) -> None:
    wallet = BaseWallet()
    clock.now += 100
    nonce, _ = pay(client, wallet, clock)
    if kind:
        sandbox.play(Faults.of(FaultRule(at="rpc", kind=kind, times=None, seconds=60)))
    assert state(client, wallet, nonce) == seen


@pytest.mark.parametrize("kind", ["500", "429", "drop", "html", "garbage"])
async def test_an_endpoint_that_is_down_knows_nothing(sandbox: Sandbox, clock: FakeTime, kind: str) -> None:
    sandbox.play(Faults.of(FaultRule(at="rpc", kind=kind, times=None)))
    assert (await word(sandbox, BaseWallet(), "0x" + "00" * 32, clock, clock.now - 30)).state is ChainState.OPEN


def test_what_no_endpoint_knows_is_an_error(client: httpx.Client) -> None:
    assert ask(client, "eth_sendTransaction")["code"] == -32601
    assert ask(client, "eth_getBlockByNumber", "tomorrow")["code"] == -32602
    assert client.post("/rpc/base", content=b"{").json()["error"]["code"] == -32700
