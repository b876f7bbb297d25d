"""The sandbox takes USDC on Solana: what a transaction may hold, blockhashes, token accounts, and what RPC tells."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from orchestrator.base.payments import Network
from orchestrator.chain.chains import Chains
from orchestrator.chain.word import ChainState, ChainWord, Outstanding
from orchestrator.payments.svm import SvmWallet
from orchestrator.sandbox import FaultRule, Faults, Sandbox

from ..x402_wallets import MEMO_PROGRAM, SolanaWallet, create_account, decoded, offers
from .paid_sandbox import BODY, POSTS, FakeTime, client, clock, sandbox

__all__ = ["client", "clock", "sandbox"]

USDC = Pubkey.from_string("EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v")
STRANGER = Keypair().pubkey()


@pytest.fixture
def wallet() -> SolanaWallet:
    return SolanaWallet()


def ask(client: httpx.Client, method: str, *params: Any) -> Any:
    question = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    answer = client.post("/rpc/solana", json=question).json()
    return answer.get("result", answer.get("error"))


def blockhash(client: httpx.Client) -> str:
    return str(ask(client, "getLatestBlockhash", {"commitment": "finalized"})["value"]["blockhash"])


def offer(client: httpx.Client) -> dict[str, Any]:
    return offers(client.post(POSTS, json=BODY))[1]


def paid(client: httpx.Client, header: str) -> httpx.Response:
    return client.post(POSTS, json=BODY, headers={"PAYMENT-SIGNATURE": header})


def pay(client: httpx.Client, wallet: SolanaWallet, **options: Any) -> httpx.Response:
    entry = offer(client)
    return paid(client, wallet.sign(entry, wallet.instructions(entry, **options), blockhash(client)))


def message_of(response: httpx.Response) -> str:
    assert response.status_code == 402, response.text
    return str(response.json()["error"]["message"])


def test_a_payment_on_solana_buys_the_request(client: httpx.Client, wallet: SolanaWallet, sandbox: Sandbox) -> None:
    entry = offer(client)
    answer = pay(client, wallet)
    assert answer.status_code == 200, answer.text
    receipt = decoded(answer.headers["PAYMENT-RESPONSE"])
    assert (receipt["payer"], receipt["amount"]) == (wallet.address, entry["amount"])
    assert sandbox.charges()[0].account == f"x402:solana:{wallet.address}"
    assert client.get(f"/v1/generation-requests/{answer.json()['request_id']}").status_code == 200


def test_the_first_payment_creates_the_token_account(client: httpx.Client, wallet: SolanaWallet) -> None:
    account = "6Lzx6KGh5xZuMob2p3BkDN1CKqeByd9b6sr441N3qL2t"
    assert ask(client, "getAccountInfo", account)["value"] is None
    assert offer(client)["extra"]["estimatedGasUsd"] == "0.201500"
    assert "does not exist" in message_of(pay(client, wallet, creates=None))
    assert pay(client, wallet).status_code == 200
    assert ask(client, "getAccountInfo", account)["value"]["owner"] == "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA"
    assert offer(client)["extra"]["estimatedGasUsd"] == "0.001500"
    assert "exists already" in message_of(pay(client, wallet, creates=0))
    assert pay(client, wallet, creates=1).status_code == 200
    assert pay(client, wallet, creates=None, memo=None).status_code == 200


def test_two_equal_payments_under_one_blockhash_are_the_same_one(client: httpx.Client, wallet: SolanaWallet) -> None:
    first, again = pay(client, wallet), pay(client, wallet)
    assert first.json()["request_id"] != again.json()["request_id"], "their amounts differ: the account was created"
    third = pay(client, wallet)
    assert third.json()["request_id"] == again.json()["request_id"]
    assert pay(client, wallet, memo="another").json()["request_id"] != again.json()["request_id"]


def test_a_blockhash_is_good_for_150_blocks(client: httpx.Client, wallet: SolanaWallet, clock: FakeTime) -> None:
    entry, old = offer(client), blockhash(client)
    clock.now += 59
    assert paid(client, wallet.sign(entry, wallet.instructions(entry), old)).status_code == 200
    clock.now += 2
    late = wallet.sign(entry, wallet.instructions(entry, memo="late"), old)
    assert "BlockhashNotFound" in message_of(paid(client, late))
    unknown = wallet.sign(entry, wallet.instructions(entry), str(STRANGER))
    assert "BlockhashNotFound" in message_of(paid(client, unknown))


Change = Callable[[SolanaWallet, dict[str, Any], list[Any]], list[Any]]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda wallet, entry, found: found[1:], "unit limit"),
        (lambda wallet, entry, found: [found[0], *found[2:]], "unit price"),
        (lambda wallet, entry, found: [*found[:2], *found[4:], found[3]], "TransferChecked"),
        (lambda wallet, entry, found: [*found, found[3]], "not expected"),
        (lambda wallet, entry, found: [*found[:3], wallet.transfer(entry, 1), *found[4:]], "not the amount"),
        (
            lambda wallet, entry, found: [*found[:3], wallet.transfer(entry, 1, to=STRANGER), *found[4:]],
            "to the recipient's",
        ),
        (lambda wallet, entry, found: [*found[:3], wallet.transfer(entry, 1, decimals=9)], "6 decimals"),
        (
            lambda wallet, entry, found: [
                *found[:2],
                create_account(Pubkey.from_string(entry["payTo"]), STRANGER, USDC, b"\1"),
                *found[3:],
            ],
            "another account",
        ),
        (lambda wallet, entry, found: [*found[:4], Instruction(MEMO_PROGRAM, b"\xff", [])], "UTF-8"),
        (lambda wallet, entry, found: [*found, Instruction(STRANGER, b"", [])], "not expected"),
    ],
)
def test_a_transaction_of_anything_else_is_refused(
    client: httpx.Client, wallet: SolanaWallet, change: Change, reason: str
) -> None:
    entry = offer(client)
    header = wallet.sign(entry, change(wallet, entry, wallet.instructions(entry)), blockhash(client))
    assert reason in message_of(paid(client, header))


def test_the_owner_must_have_signed(client: httpx.Client, wallet: SolanaWallet) -> None:
    entry = offer(client)
    header = wallet.sign(entry, wallet.instructions(entry), blockhash(client), signer=Keypair())
    assert "the signature is not that of the owner" in message_of(paid(client, header))


def test_a_provider_may_refuse_memos(client: httpx.Client, wallet: SolanaWallet) -> None:
    assert client.post("/sandbox/x402", json={"memos": "refused"}).json() == {"replays": "original", "memos": "refused"}
    assert "memo" in message_of(pay(client, wallet))
    assert pay(client, wallet, memo=None).status_code == 200


@pytest.mark.parametrize("spelling", ["base58", "base64", "hex"])
def test_a_wallet_on_solana_proves_itself(
    client: httpx.Client, wallet: SolanaWallet, clock: FakeTime, spelling: str
) -> None:
    path = f"/v1/x402/balance/{wallet.address}"
    answer = client.get(path, headers=wallet.prove(now=clock.now, spelling=spelling))
    assert answer.json()["balance_usdc"] == "0.000000"
    forged = wallet.prove(now=clock.now, signature=str(Keypair().sign_message(b"x")))
    assert client.get(path, headers=forged).status_code == 401


async def word(sandbox: Sandbox, payer: str, nonce: str, height: int, clock: FakeTime) -> ChainWord:
    since = datetime.fromtimestamp(clock.now - 3600, UTC)
    async with Chains("", f"{sandbox.base_url}/rpc/solana") as chains:
        return await chains.word(Outstanding(Network.SOLANA, payer, nonce, since, last_valid_height=height))


async def test_our_own_wallet_pays_and_our_own_look_agrees(
    client: httpx.Client, sandbox: Sandbox, clock: FakeTime
) -> None:
    wallet = SvmWallet(str(Keypair()))
    async with Chains("", f"{sandbox.base_url}/rpc/solana") as chains:
        recent = await chains.blockhash()
        entry = offer(client)
        creates = not await chains.has_token_account(entry["payTo"])
    assert creates
    now = datetime.fromtimestamp(clock.now, UTC)
    signed = wallet.pay(entry, now=now, blockhash=recent, creates_account=creates)
    never = wallet.pay(entry, now=now, blockhash=recent, creates_account=creates)
    answer = paid(client, signed.header)
    assert answer.status_code == 200, answer.text
    assert recent.last_valid_height == signed.last_valid_height
    height = recent.last_valid_height
    assert (await word(sandbox, wallet.address, never.nonce, height, clock)).state is ChainState.OPEN
    clock.now += 61
    settled = await word(sandbox, wallet.address, signed.nonce, height, clock)
    receipt = decoded(answer.headers["PAYMENT-RESPONSE"])
    assert (settled.state, settled.transaction) == (ChainState.SETTLED, receipt["transaction"])
    assert (await word(sandbox, wallet.address, never.nonce, height, clock)).state is ChainState.CANNOT_SETTLE
    sandbox.play(Faults.of(FaultRule(at="rpc", kind="lying", times=None)))
    assert (await word(sandbox, wallet.address, signed.nonce, height, clock)).state is ChainState.CANNOT_SETTLE


def test_transactions_are_listed_newest_first(client: httpx.Client, wallet: SolanaWallet, clock: FakeTime) -> None:
    answers = []
    for number in range(3):
        clock.now += 10
        answers.append(pay(client, wallet, memo=str(number)))
    ids = [decoded(answer.headers["PAYMENT-RESPONSE"])["transaction"] for answer in answers]
    listed = ask(client, "getSignaturesForAddress", wallet.address)
    assert [entry["signature"] for entry in listed] == ids[::-1]
    page = ask(client, "getSignaturesForAddress", wallet.address, {"before": ids[2], "limit": 1})
    assert [entry["signature"] for entry in page] == [ids[1]]
    options = {"encoding": "json", "maxSupportedTransactionVersion": 0}
    assert ask(client, "getTransaction", ids[0], options)["transaction"]["signatures"][0] == ids[0]
    assert ask(client, "getTransaction", ids[0], {"encoding": "json"})["code"] == -32015
    assert ask(client, "getTransaction", str(Keypair().sign_message(b"")), options) is None
    slot = ask(client, "getSlot")
    assert ask(client, "getSignaturesForAddress", wallet.address, {"minContextSlot": slot + 1})["code"] == -32016
    epoch = ask(client, "getEpochInfo")
    assert (epoch["absoluteSlot"], epoch["blockHeight"]) == (slot, ask(client, "getBlockHeight"))
    assert clock.now - 2 < ask(client, "getBlockTime", slot) <= clock.now
