"""The sandbox takes USDC: discovery, direct payments on Base, receipts, replays, and everything it must refuse."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from orchestrator.payments.evm import EvmWallet
from orchestrator.sandbox import FaultRule, Faults, Sandbox, Ways

from ..x402_wallets import BaseWallet, decoded, encoded, offers
from .paid_sandbox import BODY, MUG, POSTS, FakeTime, client, clock, sandbox

__all__ = ["client", "clock", "sandbox"]


@pytest.fixture
def wallet() -> BaseWallet:
    return BaseWallet()


def base_offer(client: httpx.Client, body: object = BODY) -> dict[str, Any]:
    return offers(client.post(POSTS, json=body))[0]


def paid(client: httpx.Client, header: str, body: object = BODY, name: str = "PAYMENT-SIGNATURE") -> httpx.Response:
    return client.post(POSTS, json=body, headers={name: header})


def play(sandbox: Sandbox, **rule: Any) -> None:
    sandbox.play(Faults.of(FaultRule(**rule)))


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


def test_our_own_wallet_pays(client: httpx.Client, clock: FakeTime) -> None:
    wallet = EvmWallet("0x" + "11" * 32)
    signed = wallet.pay(base_offer(client), now=datetime.fromtimestamp(clock.now, UTC))
    assert paid(client, signed.header).status_code == 200
    (payment,) = client.get("/sandbox/payments").json()["payments"]
    assert (payment["nonce"], payment["payer"], payment["amount"]) == (signed.nonce, wallet.address, str(signed.amount))


def test_one_payment_sent_many_times_at_once_buys_one_request(
    client: httpx.Client, wallet: BaseWallet, clock: FakeTime, sandbox: Sandbox
) -> None:
    header = wallet.pay(base_offer(client), now=clock.now)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: paid(client, header), range(8)))
    assert len({answer.json()["request_id"] for answer in answers}) == 1
    assert len(sandbox.charges()) == len(sandbox.payments()) == 1


def test_a_wallet_that_has_spent_all_pays_no_more(client: httpx.Client, wallet: BaseWallet, clock: FakeTime) -> None:
    body: dict[str, Any] = {"amount_usdc": "999"}
    offer = offers(client.post("/v1/x402/top-up", json=body))[0]
    header = {"PAYMENT-SIGNATURE": wallet.pay(offer, now=clock.now)}
    assert client.post("/v1/x402/top-up", json=body, headers=header).status_code == 200
    body = {"requests": [{**MUG, "prompt": f"{number}"} for number in range(20)]}
    refused = paid(client, wallet.pay(base_offer(client, body), now=clock.now), body)
    assert "not that much" in refused.json()["error"]["message"]


def test_what_fails_is_not_given_back_to_a_payment(
    client: httpx.Client, wallet: BaseWallet, clock: FakeTime, sandbox: Sandbox
) -> None:
    body = {"requests": [MUG, {**MUG, "prompt": "[sandbox:fail]"}, {**MUG, "aspect_ratio": "99:1"}]}
    answer = paid(client, wallet.pay(base_offer(client, body), now=clock.now), body)
    clock.now += 60
    assert client.get(f"/v1/generation-requests/{answer.json()['request_id']}").json()["status"] == "partial_failure"
    assert [entry.kind for entry in sandbox.ledger()] == ["charge", "charge"]
    assert sum(entry.usdc for entry in sandbox.charges()) == Decimal("0.149538")


def test_nothing_is_offered_for_a_request_of_which_nothing_is_valid(client: httpx.Client) -> None:
    refused = client.post(POSTS, json={"requests": [{**MUG, "aspect_ratio": "99:1"}]})
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "unsupported_aspect_ratio")


def test_several_ways_of_paying_at_once_are_refused(client: httpx.Client) -> None:
    headers = {"PAYMENT-SIGNATURE": "e30=", "X-API-Key": "key", "X-API-Secret": "secret"}
    refused = client.post(POSTS, json=BODY, headers=headers)
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "ambiguous_payment")


@pytest.mark.parametrize(
    "kind", ["500-after-charge", "502-html-after-charge", "drop-after-charge", "garbage", "402-after-charge"]
)
def test_a_lost_answer_has_been_paid_for_and_is_told_again(
    client: httpx.Client, wallet: BaseWallet, clock: FakeTime, sandbox: Sandbox, kind: str
) -> None:
    header = wallet.pay(base_offer(client), now=clock.now)
    play(sandbox, at="submit", kind=kind)
    try:
        lost = paid(client, header)
        assert "request_id" not in lost.text or kind == "garbage"
        assert ("PAYMENT-REQUIRED" in lost.headers) is (kind == "402-after-charge")
    except httpx.RemoteProtocolError:
        assert kind == "drop-after-charge"
    assert len(sandbox.charges()) == 1
    again = paid(client, header)
    assert again.json()["request_id"] == sandbox.charges()[0].request_id
    assert len(sandbox.charges()) == 1


@pytest.mark.parametrize("kind", ["500-before-charge", "502-html", "drop-before-charge", "402", "429"])
def test_what_is_lost_before_the_settlement_costs_nothing(
    client: httpx.Client, wallet: BaseWallet, clock: FakeTime, sandbox: Sandbox, kind: str
) -> None:
    header = wallet.pay(base_offer(client), now=clock.now)
    play(sandbox, at="submit", kind=kind)
    try:
        assert paid(client, header).status_code >= 400
    except httpx.RemoteProtocolError:
        assert kind == "drop-before-charge"
    assert sandbox.payments() == []
    assert paid(client, header).status_code == 200


@pytest.mark.parametrize(("kind", "status"), [("500-after-settlement", 500), ("late-settlement", 402)])
def test_money_may_be_taken_for_nothing(
    client: httpx.Client, wallet: BaseWallet, clock: FakeTime, sandbox: Sandbox, kind: str, status: int
) -> None:
    header = wallet.pay(base_offer(client), now=clock.now)
    play(sandbox, at="submit", kind=kind)
    assert paid(client, header).status_code == status
    assert sandbox.charges() == []
    assert [payment.purpose for payment in sandbox.payments()] == ["nothing"]
    assert "used already" in paid(client, header).json()["error"]["message"]


def test_replays_may_be_refused(tmp_path: Path, wallet: BaseWallet, clock: FakeTime) -> None:
    with (
        Sandbox(tmp_path / "strict", clock=clock, ways=Ways(replays="refused")) as sandbox,
        httpx.Client(base_url=sandbox.base_url) as client,
    ):
        header = wallet.pay(base_offer(client), now=clock.now)
        assert [paid(client, header).status_code for _ in range(2)] == [200, 402]
        client.post("/sandbox/x402", json={"replays": "original"})
        assert paid(client, header).status_code == 200


def test_a_raised_quote_is_what_must_be_paid(
    client: httpx.Client, wallet: BaseWallet, clock: FakeTime, sandbox: Sandbox
) -> None:
    play(sandbox, at="offer", kind="price", factor=Decimal(2))
    raised = base_offer(client)
    assert raised["amount"] == "149538"
    assert paid(client, wallet.pay(raised, now=clock.now)).status_code == 200
    assert [entry.usdc for entry in sandbox.charges()] == [Decimal("0.149538")]


def test_a_quote_may_rise_after_it_was_told(
    client: httpx.Client, wallet: BaseWallet, clock: FakeTime, sandbox: Sandbox
) -> None:
    offer = base_offer(client)
    play(sandbox, at="submit", kind="price", factor=Decimal(2))
    refused = paid(client, wallet.pay(offer, now=clock.now))
    assert offers(refused)[0]["amount"] == "149538"
    assert sandbox.payments() == []


@pytest.mark.parametrize(
    ("kind", "field"), [("pay-to", "payTo"), ("asset", "asset"), ("network", "network"), ("scheme", "scheme")]
)
def test_a_quote_may_ask_for_something_else(client: httpx.Client, sandbox: Sandbox, kind: str, field: str) -> None:
    honest = base_offer(client)
    play(sandbox, at="offer", kind=kind)
    bent = base_offer(client)
    assert {name for name in honest if honest[name] != bent[name]} == {field}


@pytest.mark.parametrize("kind", ["no-header", "not-base64", "not-json", "no-offers"])
def test_a_quote_may_be_no_quote(client: httpx.Client, sandbox: Sandbox, kind: str) -> None:
    play(sandbox, at="offer", kind=kind)
    answer = client.post(POSTS, json=BODY)
    assert answer.status_code == 402
    with pytest.raises((KeyError, ValueError, IndexError)):
        offers(answer)[0]


@pytest.mark.parametrize("kind", ["no-receipt", "garbled-receipt"])
def test_a_receipt_may_be_missing_or_garbled(
    client: httpx.Client, wallet: BaseWallet, clock: FakeTime, sandbox: Sandbox, kind: str
) -> None:
    play(sandbox, at="submit", kind=kind)
    answer = paid(client, wallet.pay(base_offer(client), now=clock.now))
    assert answer.json()["request_id"]
    with pytest.raises((KeyError, ValueError)):
        decoded(answer.headers["PAYMENT-RESPONSE"])


def test_a_quote_holds_for_an_hour_also_over_a_restart(tmp_path: Path, wallet: BaseWallet, clock: FakeTime) -> None:
    rule = FaultRule(at="offer", kind="price", factor=Decimal(3), times=None)
    with (
        Sandbox(tmp_path / "kept", clock=clock, faults=Faults.of(rule)) as sandbox,
        httpx.Client(base_url=sandbox.base_url) as client,
    ):
        raised = base_offer(client)
    with Sandbox(tmp_path / "kept", clock=clock) as sandbox, httpx.Client(base_url=sandbox.base_url) as client:
        clock.now += 3500
        assert paid(client, wallet.pay(raised, now=clock.now)).status_code == 200
        clock.now += 200
        assert paid(client, wallet.pay(raised, now=clock.now)).status_code == 402
