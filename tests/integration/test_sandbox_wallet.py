"""The sandbox keeps wallets' balances: top-ups, proofs, debits and refunds, reads, and the shortfall of a 402."""

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from orchestrator.sandbox import FaultRule, Faults, Sandbox

from ..x402_wallets import BaseWallet, decoded, offers
from .paid_sandbox import MUG, POSTS, FakeTime, client, clock, sandbox

__all__ = ["client", "clock", "sandbox"]

FAILING = {**MUG, "prompt": "A broken mug [sandbox:fail]"}
TOP_UPS = "/v1/x402/top-up"
#: The sandbox's clock, where a test puts its time.
NOW = object()


@pytest.fixture
def wallet() -> BaseWallet:
    return BaseWallet()


def top_up(client: httpx.Client, wallet: BaseWallet, clock: FakeTime, amount: str = "1.00") -> httpx.Response:
    body = {"amount_usdc": amount}
    offer = offers(client.post(TOP_UPS, json=body))[0]
    return client.post(TOP_UPS, json=body, headers={"PAYMENT-SIGNATURE": wallet.pay(offer, now=clock.now)})


def read(client: httpx.Client, wallet: BaseWallet, clock: FakeTime, what: str = "balance") -> dict[str, Any]:
    answer = client.get(f"/v1/x402/{what}/{wallet.address}", headers=wallet.prove(now=clock.now))
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def submit(client: httpx.Client, wallet: BaseWallet, clock: FakeTime, *items: Mapping[str, object]) -> httpx.Response:
    return client.post(POSTS, json={"requests": items}, headers=wallet.prove(now=clock.now))


def test_a_top_up_credits_its_amount_and_costs_the_settlement_on_top(
    client: httpx.Client, wallet: BaseWallet, clock: FakeTime
) -> None:
    answer = top_up(client, wallet, clock)
    assert answer.status_code == 200, answer.text
    assert decoded(answer.headers["PAYMENT-RESPONSE"])["amount"] == "1003938"
    told = answer.json()
    assert (told["wallet_address"], told["network"]) == (wallet.address, "eip155:8453")
    assert (told["credited_usdc"], told["paid_usdc"], told["balance_usdc"]) == ("1.000000", "1.003938", "1.000000")
    assert read(client, wallet, clock)["balance_usdc"] == "1.000000"


def test_a_request_is_paid_from_the_balance_and_what_fails_comes_back(
    client: httpx.Client, wallet: BaseWallet, clock: FakeTime, sandbox: Sandbox
) -> None:
    top_up(client, wallet, clock)
    accepted = submit(client, wallet, clock, MUG, FAILING)
    assert accepted.status_code == 200, accepted.text
    assert "PAYMENT-RESPONSE" not in accepted.headers
    assert read(client, wallet, clock)["balance_usdc"] == "0.854400"
    clock.now += 60
    request_id = accepted.json()["request_id"]
    done = client.get(f"/v1/generation-requests/{request_id}").json()
    assert (done["status"], done["metadata"]) == ("partial_failure", {"credits_spent": "14"})
    assert read(client, wallet, clock)["balance_usdc"] == "0.927200"
    kinds = [
        (each["type"], each["amount_usdc"], each["request_id"]) for each in sandbox_transactions(client, wallet, clock)
    ]
    assert kinds == [
        ("refund", "0.072800", request_id),
        ("debit", "0.145600", request_id),
        ("top_up", "1.000000", None),
    ]
    ledger = client.get("/sandbox/ledger").json()
    assert ledger["usdc_balances"] == {f"wallet:base:{wallet.address}": "0.9272"}
    assert ledger["balances"] == {}
    assert {(each["unit"], each["usdc"], each["credits"]) for each in ledger["entries"]} == {("usdc", "0.0728", "0")}
    assert sum(sandbox.balances().values()) == 0


def sandbox_transactions(client: httpx.Client, wallet: BaseWallet, clock: FakeTime) -> list[dict[str, Any]]:
    return list(read(client, wallet, clock, "transactions")["transactions"])


def test_what_the_balance_lacks_is_asked_for(client: httpx.Client, wallet: BaseWallet, clock: FakeTime) -> None:
    top_up(client, wallet, clock, "0.05")
    refused = submit(client, wallet, clock, MUG)
    assert refused.json()["error"]["code"] == "insufficient_wallet_balance"
    (offer,) = offers(refused)
    assert (offer["network"], offer["extra"]["subtotalUsd"], offer["amount"]) == ("eip155:8453", "0.022800", "26738")
    assert read(client, wallet, clock)["balance_usdc"] == "0.050000"


def test_a_top_up_that_comes_again_is_credited_once(client: httpx.Client, wallet: BaseWallet, clock: FakeTime) -> None:
    body = {"amount_usdc": "2"}
    header = wallet.pay(offers(client.post(TOP_UPS, json=body))[0], now=clock.now)
    answers = [client.post(TOP_UPS, json=body, headers={"PAYMENT-SIGNATURE": header}) for _ in range(2)]
    assert [answer.json()["balance_usdc"] for answer in answers] == ["2.000000", "2.000000"]
    assert answers[0].headers["PAYMENT-RESPONSE"] == answers[1].headers["PAYMENT-RESPONSE"]


def test_a_lost_answer_is_found_again_in_the_transactions(
    client: httpx.Client, wallet: BaseWallet, clock: FakeTime, sandbox: Sandbox
) -> None:
    sandbox.play(Faults.of(FaultRule(at="top-up", kind="drop-after-charge")))
    with pytest.raises(httpx.RemoteProtocolError):
        top_up(client, wallet, clock)
    (found,) = sandbox_transactions(client, wallet, clock)
    (payment,) = client.get("/sandbox/payments").json()["payments"]
    assert found["transaction"] == payment["transaction"]
    assert (payment["purpose"], payment["credited_usdc"], payment["amount_usdc"]) == ("top-up", "1", "1.003938")


@pytest.mark.parametrize(
    ("age", "told", "reason"),
    [
        (301, {}, "stale"),
        (-301, {}, "stale"),
        (301, {"issued_at": NOW}, "issued_at"),
        (0, {"signature": "0x" + "11" * 65}, "not that of the wallet"),
        (0, {"address": "0x000000000000000000000000000000000000dEaD"}, "address"),
        (0, {"network": "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp"}, "another network"),
        (0, {"network": "eip155:1"}, "none that is known"),
        (0, {"issued_at": 10**400}, "Unix timestamp"),
        (0, {"message": 5}, "message"),
    ],
)
def test_a_proof_that_proves_nothing_is_refused(
    client: httpx.Client, wallet: BaseWallet, clock: FakeTime, age: int, told: dict[str, Any], reason: str
) -> None:
    told = {name: int(clock.now) if value is NOW else value for name, value in told.items()}
    proof = wallet.prove(now=clock.now - age, **told)
    refused = client.get(f"/v1/x402/balance/{wallet.address}", headers=proof)
    assert refused.status_code == 401
    assert reason in refused.json()["error"]["message"]


def test_a_balance_is_read_by_its_wallet_alone(client: httpx.Client, wallet: BaseWallet, clock: FakeTime) -> None:
    path = f"/v1/x402/balance/{wallet.address}"
    assert client.get(path).status_code == 401
    assert client.get(path, headers=BaseWallet().prove(now=clock.now)).status_code == 403


@pytest.mark.parametrize(
    "body",
    [{}, {"amount_usdc": "0"}, {"amount_usdc": "-1"}, {"amount_usdc": "0.0000001"}, {"amount_usdc": "1e99999"}, []],
)
def test_an_amount_that_cannot_be_topped_up_is_refused(client: httpx.Client, body: object) -> None:
    assert client.post(TOP_UPS, json=body).status_code == 400


def test_it_tells_what_it_takes(client: httpx.Client) -> None:
    told = client.get("/v1/x402").json()
    assert [network["network"].partition(":")[0] for network in told["networks"]] == ["eip155", "solana"]


def test_balances_survive_a_restart(tmp_path: Path, clock: FakeTime, wallet: BaseWallet) -> None:
    for _ in range(2):
        with Sandbox(tmp_path / "kept", clock=clock) as running, httpx.Client(base_url=running.base_url) as client:
            top_up(client, wallet, clock)
    with Sandbox(tmp_path / "kept", clock=clock) as running, httpx.Client(base_url=running.base_url) as client:
        assert read(client, wallet, clock)["balance_usdc"] == "2.000000"
        funds = client.get("/sandbox/payments").json()["funds"]
        assert funds == {f"base:{wallet.address}": str(Decimal(1000) - 2 * Decimal("1.003938"))}
