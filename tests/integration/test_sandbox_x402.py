"""The sandbox takes USDC: discovery, direct payments on Base, receipts, replays, and everything it must refuse."""

import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from orchestrator.sandbox import FaultRule, Faults, Sandbox

from ..x402_wallets import BaseWallet, decoded, encoded, offers

MUG = {"type": "image", "model": "gpt-image-2", "prompt": "A ceramic mug", "aspect_ratio": "16:9"}
POSTS = "/v1/generation-requests?wait=false"
BODY = {"requests": [MUG]}


class FakeTime:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> FakeTime:
    return FakeTime()


@pytest.fixture
def sandbox(tmp_path: Path, clock: FakeTime) -> Iterator[Sandbox]:
    with Sandbox(tmp_path / "sandbox", clock=clock) as running:
        yield running


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=sandbox.base_url) as opened:
        yield opened


@pytest.fixture
def wallet() -> BaseWallet:
    return BaseWallet()


def base_offer(client: httpx.Client, body: object = BODY) -> dict[str, Any]:
    return offers(client.post(POSTS, json=body))[0]


def paid(client: httpx.Client, header: str, body: object = BODY, name: str = "PAYMENT-SIGNATURE") -> httpx.Response:
    return client.post(POSTS, json=body, headers={name: header})


def play(sandbox: Sandbox, **rule: Any) -> None:
    sandbox.play(Faults.of(FaultRule(**rule)))


def payments(client: httpx.Client) -> list[dict[str, Any]]:
    return list(client.get("/sandbox/payments").json()["payments"])


def test_an_unpaid_call_is_told_the_price_on_both_networks(client: httpx.Client) -> None:
    base, solana = offers(client.post(POSTS, json=BODY))
    assert base["network"] == "eip155:8453"
    assert base["asset"] == "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913"
    assert (base["amount"], base["extra"]["subtotalUsd"]) == ("76738", "0.072800")
    assert solana["network"] == "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp"
    assert (solana["amount"], solana["extra"]["estimatedGasUsd"]) == ("274300", "0.201500")


def test_a_payment_on_base_buys_the_request(client: httpx.Client, wallet: BaseWallet, clock: FakeTime) -> None:
    offer = base_offer(client)
    answer = paid(client, wallet.pay(offer, now=clock.now))
    assert answer.status_code == 200, answer.text
    receipt = decoded(answer.headers["PAYMENT-RESPONSE"])
    assert (receipt["success"], receipt["payer"], receipt["amount"]) == (True, wallet.address, offer["amount"])
    clock.now += 60
    done = client.get(f"/v1/generation-requests/{answer.json()['request_id']}").json()
    assert (done["status"], done["metadata"]) == ("completed", {"credits_spent": "14"})


def test_the_alias_of_the_header_is_taken(client: httpx.Client, wallet: BaseWallet, clock: FakeTime) -> None:
    header = wallet.pay(base_offer(client), now=clock.now)
    assert paid(client, header, name="X-402-Payment").status_code == 200


def test_a_settled_payment_that_comes_again_gets_the_answer_of_then(
    client: httpx.Client, wallet: BaseWallet, clock: FakeTime, sandbox: Sandbox
) -> None:
    header = wallet.pay(base_offer(client), now=clock.now)
    first = paid(client, header)
    clock.now += 1000
    again = paid(client, header)
    assert again.json()["request_id"] == first.json()["request_id"]
    assert again.headers["PAYMENT-RESPONSE"] == first.headers["PAYMENT-RESPONSE"]
    assert [entry.usdc for entry in sandbox.charges()] == [Decimal("0.076738")]


def test_a_payment_buys_no_other_request(client: httpx.Client, wallet: BaseWallet, clock: FakeTime) -> None:
    header = wallet.pay(base_offer(client), now=clock.now)
    assert paid(client, header).status_code == 200
    other = paid(client, header, {"requests": [{**MUG, "prompt": "Another mug"}]})
    assert (other.status_code, other.json()["error"]["code"]) == (402, "invalid_payment")


@pytest.mark.parametrize(
    ("signed", "told", "reason"),
    [
        ({"value": "76737"}, {}, "is not the amount that was signed"),
        ({"to": "0x000000000000000000000000000000000000dEaD"}, {}, "not the recipient"),
        ({"validBefore": 1}, {}, "expired"),
        ({"validAfter": 1 << 40}, {}, "not valid yet"),
        ({}, {"validBefore": 1 << 40}, "the signature is not that of"),
        ({}, {"nonce": "0x" + "00" * 32}, "the signature is not that of"),
        ({}, {"nonce": "0x00"}, "32 bytes"),
        ({}, {"from": "nobody"}, "no address"),
    ],
)
def test_a_payment_that_is_not_what_was_asked_for_is_refused(
    client: httpx.Client, wallet: BaseWallet, clock: FakeTime, signed: dict[str, Any], told: dict[str, Any], reason: str
) -> None:
    refused = paid(client, wallet.pay(base_offer(client), now=clock.now, signed=signed, **told))
    assert refused.status_code == 402
    assert reason in refused.json()["error"]["message"]


@pytest.mark.parametrize("change", [{"amount": "1"}, {"payTo": "0x0"}, {"asset": "0x0"}, {"network": "eip155:1"}])
def test_an_entry_that_was_edited_is_refused(
    client: httpx.Client, wallet: BaseWallet, clock: FakeTime, change: dict[str, str]
) -> None:
    document = decoded(wallet.pay(base_offer(client), now=clock.now))
    assert paid(client, encoded({**document, "accepted": {**document["accepted"], **change}})).status_code == 402


@pytest.mark.parametrize("header", ["{}", "bm90IGpzb24=", encoded([]), encoded({"x402Version": 1})])
def test_a_header_that_is_no_payment_is_refused(client: httpx.Client, header: str) -> None:
    assert paid(client, header).status_code == 402
