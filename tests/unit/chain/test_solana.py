"""Solana: what is signed under, and when it is proven that a transaction of ours never landed."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from solders.pubkey import Pubkey

from orchestrator.base.payments import Blockhash, Network
from orchestrator.base.spl import TOKEN_PROGRAM, token_account
from orchestrator.chain import solana
from orchestrator.chain.chains import Chains
from orchestrator.chain.rpc import RpcUnavailable
from orchestrator.chain.word import ChainState, Outstanding

from .endpoint import Endpoint, Raw, Refusal, serving

GENESIS = "5eykt4UsFv8P8NJdTREpY1vzqKqZKvdpKuc147dw2N9d"
SENT_AT = datetime(2026, 5, 10, 16, 20, tzinfo=UTC)
PAYER = str(Pubkey(bytes([5] * 32)))
ACCOUNT = str(token_account(Pubkey.from_string(PAYER)))
OURS = "our-signature"
LAST_HEIGHT = 1000
SIGNED_AT_SLOT = 3000
PAYMENT = Outstanding(
    Network.SOLANA, payer=PAYER, nonce=OURS, since=SENT_AT, last_valid_height=LAST_HEIGHT, after_slot=SIGNED_AT_SLOT
)


class Ledger:
    """What has landed in the payer's account, newest last: the owner's signature, its slot, and whether it failed."""

    def __init__(self) -> None:
        self.landed: list[tuple[str, int, object]] = []

    def land(self, owner_signature: str, *, slots: int = 0, err: object = None) -> None:
        self.landed.append((owner_signature, SIGNED_AT_SLOT + slots, err))

    def signatures(self, account: str, options: dict[str, Any]) -> list[dict[str, Any]]:
        assert account == ACCOUNT
        assert options["commitment"] == "finalized"
        entries = [
            {"signature": f"tx-{number}", "blockTime": None, "err": err, "slot": slot}
            for number, (_, slot, err) in enumerate(self.landed)
        ][::-1]
        names = [entry["signature"] for entry in entries]
        start = names.index(options["before"]) + 1 if "before" in options else 0
        return entries[start : start + min(options["limit"], 1000)]

    def transaction(self, name: str, options: dict[str, Any]) -> dict[str, Any]:
        assert options == {"commitment": "finalized", "encoding": "json", "maxSupportedTransactionVersion": 0}
        owner_signature = self.landed[int(name.removeprefix("tx-"))][0]
        return {"transaction": {"signatures": [name, owner_signature]}, "blockTime": 1}


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


@pytest.fixture
def endpoint(ledger: Ledger) -> Iterator[Endpoint]:
    """One whose ledger reaches far back, and is past the last height."""
    says = {
        "getGenesisHash": GENESIS,
        "getEpochInfo": {"absoluteSlot": 5000, "blockHeight": LAST_HEIGHT + 1},
        "getSignaturesForAddress": ledger.signatures,
        "getTransaction": ledger.transaction,
        "getFirstAvailableBlock": 0,
        "getLatestBlockhash": {"context": {"slot": 1}, "value": {"blockhash": PAYER, "lastValidBlockHeight": 2000}},
        "getAccountInfo": {"context": {"slot": 1}, "value": {"owner": str(TOKEN_PROGRAM)}},
    }
    with serving(Endpoint(**says)) as running:
        yield running


@pytest.fixture
async def chains(endpoint: Endpoint) -> AsyncIterator[Chains]:
    async with Chains("", endpoint.url) as opened:
        yield opened


async def test_a_blockhash_that_is_final(endpoint: Endpoint, chains: Chains) -> None:
    assert await chains.blockhash() == Blockhash(PAYER, 2000, 1)
    assert endpoint.calls_of("getLatestBlockhash") == [[{"commitment": "finalized"}]]


@pytest.mark.parametrize("told", [0, LAST_HEIGHT])
async def test_a_blockhash_holds_for_150_blocks_whatever_is_said(endpoint: Endpoint, chains: Chains, told: int) -> None:
    value = {"blockhash": PAYER, "lastValidBlockHeight": told}
    endpoint.says["getLatestBlockhash"] = {"context": {"slot": 1}, "value": value}
    assert (await chains.blockhash()).last_valid_height == LAST_HEIGHT + 1 + 150


def test_two_keys_of_one_host_are_one_witness() -> None:
    urls = "https://a.example/one,https://key@a.example/two"
    assert Chains("", urls).looks_needed(Network.SOLANA) == 2
    assert Chains("", f"{urls},https://b.example").looks_needed(Network.SOLANA) == 1


async def test_of_several_endpoints_the_latest_height_counts(endpoint: Endpoint) -> None:
    value = {"blockhash": ACCOUNT, "lastValidBlockHeight": 2001}
    epoch = {"absoluteSlot": 5000, "blockHeight": LAST_HEIGHT + 1}
    latest = {"context": {"slot": 5}, "value": value}
    with serving(Endpoint(getGenesisHash=GENESIS, getLatestBlockhash=latest, getEpochInfo=epoch)) as second:
        async with Chains("", f"{endpoint.url},{second.url}") as chains:
            assert await chains.blockhash() == Blockhash(PAYER, 2001, 1)
            endpoint.says["getLatestBlockhash"] = Raw(b"", 429)
            assert await chains.blockhash() == Blockhash(ACCOUNT, 2001, 5)
            second.says["getLatestBlockhash"] = {"context": {"slot": 5}, "value": {}}
            with pytest.raises(RpcUnavailable, match=r"429.*; .*no blockhash"):
                await chains.blockhash()


@pytest.mark.parametrize("genesis", ["EtWTRABZaYq6iMfeYKouRu166VU2xqa1wcaWoxPkrZBG", None, 5, Raw(b"", 500)])
async def test_another_chain_is_not_believed(endpoint: Endpoint, chains: Chains, genesis: Any) -> None:
    endpoint.says["getGenesisHash"] = genesis
    with pytest.raises(RpcUnavailable):
        await chains.blockhash()
    with pytest.raises(RpcUnavailable):
        await chains.has_token_account(PAYER)
    assert (await chains.word(PAYMENT)).state is ChainState.OPEN


async def test_a_token_account(endpoint: Endpoint, chains: Chains) -> None:
    endpoint.says["getAccountInfo"] = {"value": None}
    assert not await chains.has_token_account(PAYER)
    endpoint.says["getAccountInfo"] = {"value": {"owner": "11111111111111111111111111111111"}}
    assert not await chains.has_token_account(PAYER)
    endpoint.says["getAccountInfo"] = {}
    with pytest.raises(RpcUnavailable):
        await chains.has_token_account(PAYER)
    endpoint.says["getAccountInfo"] = {"value": {"owner": str(TOKEN_PROGRAM)}}
    assert await chains.has_token_account(PAYER)
    assert not await chains.has_token_account("0x2c7536E3605D9C16a7a3D7b1898e529396a65c23")
    assert [params[0] for params in endpoint.calls_of("getAccountInfo")] == [ACCOUNT] * 4
    assert await chains.has_token_account(PAYER)
    assert len(endpoint.calls_of("getAccountInfo")) == 4


async def test_past_its_height_and_nowhere_to_be_found(chains: Chains, ledger: Ledger) -> None:
    ledger.land("before", slots=-1)
    ledger.land("another", slots=20)
    ledger.land("a third", slots=21)
    word = await chains.word(PAYMENT)
    assert (word.state, word.transaction) == (ChainState.CANNOT_SETTLE, None)
    assert word.evidence == {
        "network": "solana",
        "looks": [
            {
                "rpc": "127.0.0.1",
                "slot": 5000,
                "height": LAST_HEIGHT + 1,
                "last_valid_height": LAST_HEIGHT,
                "after_slot": SIGNED_AT_SLOT,
                "token_account": ACCOUNT,
                "transactions_seen": 2,
            }
        ],
    }


@pytest.mark.parametrize("height", [0, LAST_HEIGHT - 1, LAST_HEIGHT])
async def test_up_to_its_last_height_nothing_is_certain(endpoint: Endpoint, chains: Chains, height: int) -> None:
    endpoint.says["getEpochInfo"] = {"absoluteSlot": 5000, "blockHeight": height}
    assert (await chains.word(PAYMENT)).state is ChainState.OPEN


async def test_what_landed_is_known_by_our_signature(chains: Chains, ledger: Ledger) -> None:
    ledger.land("another")
    ledger.land(OURS, slots=30)
    ledger.land("a third", slots=40)
    word = await chains.word(PAYMENT)
    assert (word.state, word.transaction) == (ChainState.SETTLED, "tx-1")


async def test_what_landed_and_failed_moved_nothing(chains: Chains, ledger: Ledger) -> None:
    ledger.land(OURS, err={"InstructionError": [2, {"Custom": 1}]})
    word = await chains.word(PAYMENT)
    assert (word.state, word.transaction) == (ChainState.CANNOT_SETTLE, None)
    assert word.evidence["looks"][0]["failed"] is True


@pytest.mark.parametrize("days", [-1, 1])
async def test_no_clock_decides_how_far_back_is_looked(chains: Chains, ledger: Ledger, days: int) -> None:
    """The database's may be wrong by as much as it likes."""
    ledger.land("before", slots=-1)
    ledger.land(OURS, slots=1)
    word = await chains.word(replace(PAYMENT, since=SENT_AT + timedelta(days=days)))
    assert word.state is ChainState.SETTLED


async def test_a_long_history_is_read_page_by_page(
    endpoint: Endpoint, chains: Chains, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(solana, "_PAGE", 3)
    ledger.land(OURS)
    for number in range(7):
        ledger.land(f"later {number}", slots=number)
    assert (await chains.word(PAYMENT)).transaction == "tx-0"
    befores = [options.get("before") for _, options in endpoint.calls_of("getSignaturesForAddress")]
    assert befores == [None, "tx-5", "tx-2"]
    assert {options["minContextSlot"] for _, options in endpoint.calls_of("getSignaturesForAddress")} == {5000}


async def test_what_was_looked_into_is_not_asked_for_again(endpoint: Endpoint, chains: Chains, ledger: Ledger) -> None:
    ledger.land("another")
    await chains.word(PAYMENT)
    await chains.word(PAYMENT)
    assert len(endpoint.calls_of("getTransaction")) == 1
    assert len(endpoint.calls_of("getSignaturesForAddress")) == 2


async def test_a_history_without_an_end_proves_nothing(
    chains: Chains, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(solana, "_PAGE", 2)
    monkeypatch.setattr(solana, "_MOST_TRANSACTIONS", 6)
    for number in range(10):
        ledger.land(f"{number}")
    assert (await chains.word(PAYMENT)).state is ChainState.OPEN


@pytest.mark.parametrize(
    ("first_block", "state"),
    [
        (SIGNED_AT_SLOT, ChainState.CANNOT_SETTLE),
        (SIGNED_AT_SLOT + 1, ChainState.OPEN),
        (None, ChainState.OPEN),
    ],
)
async def test_a_ledger_that_forgets_proves_nothing(
    endpoint: Endpoint, chains: Chains, ledger: Ledger, first_block: int | None, state: ChainState
) -> None:
    """The list of an account ends where the endpoint's ledger begins."""
    ledger.land("another")
    endpoint.says["getFirstAvailableBlock"] = first_block
    assert (await chains.word(PAYMENT)).state is state


@pytest.mark.parametrize(
    "lie",
    [
        {"getEpochInfo": None},
        {"getEpochInfo": {"absoluteSlot": 5000}},
        {"getEpochInfo": {"absoluteSlot": "5000", "blockHeight": 2000}},
        {"getSignaturesForAddress": None},
        {"getSignaturesForAddress": [{}]},
        {"getSignaturesForAddress": [{"signature": "tx-0"}]},
        {"getSignaturesForAddress": Refusal("Minimum context slot has not been reached", -32016)},
        {"getSignaturesForAddress": Raw(b"<html>", 503)},
        {"getTransaction": None},
        {"getTransaction": {"transaction": {"signatures": ["of another one", OURS]}}},
        {"getTransaction": {"transaction": ["AAAA", "base64"]}},
        {"getTransaction": Refusal("too many requests", 429)},
        {"getFirstAvailableBlock": None},
    ],
)
async def test_an_endpoint_that_is_of_no_use_proves_nothing(
    endpoint: Endpoint, chains: Chains, ledger: Ledger, lie: dict[str, Any]
) -> None:
    ledger.land("another")
    endpoint.says |= lie
    word = await chains.word(PAYMENT)
    assert word.state is ChainState.OPEN
    assert "127.0.0.1" in word.evidence["looks"][0]["problem"]


async def test_several_endpoints_have_to_agree(endpoint: Endpoint, ledger: Ledger) -> None:
    blind = Endpoint(**endpoint.says | {"getSignaturesForAddress": []})
    with serving(blind) as second:
        async with Chains("", f"{endpoint.url},{second.url}") as chains:
            assert (await chains.word(PAYMENT)).state is ChainState.CANNOT_SETTLE
            ledger.land(OURS)
            word = await chains.word(PAYMENT)
    assert word.state is ChainState.OPEN
    assert word.evidence["disagreement"] == ["cannot-settle", "settled"]


async def test_a_look_that_never_ends_is_over_at_its_deadline(
    endpoint: Endpoint, chains: Chains, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.chain.chains._LOOK_DEADLINE_SECONDS", 0.1)
    endpoint.says["getEpochInfo"] = Raw(b"", delay_seconds=0.4)
    word = await chains.word(PAYMENT)
    assert word.state is ChainState.OPEN
    assert word.evidence["looks"] == [{"problem": "not over within 0.1 seconds"}]


async def test_a_payment_without_its_end_is_a_mistake_of_ours(chains: Chains) -> None:
    with pytest.raises(ValueError, match="height"):
        await chains.word(Outstanding(Network.SOLANA, PAYER, OURS, SENT_AT))
    with pytest.raises(ValueError, match="instant"):
        async with Chains("http://127.0.0.1:9", "") as base:
            await base.word(Outstanding(Network.BASE, PAYER, OURS, SENT_AT - timedelta(1)))
