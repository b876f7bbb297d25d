"""The proof of a wallet: as the guide shows it, and good for its moment alone."""

from datetime import UTC, datetime

import pytest
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.signature import Signature

from orchestrator.base.ethereum import Account, encode_defunct
from orchestrator.base.payments import CHAINS
from orchestrator.payments.evm import EvmWallet
from orchestrator.payments.svm import SvmWallet
from orchestrator.payments.wallet import Wallet

from .judges import decoded

NOW = datetime(2026, 5, 13, 22, 30, tzinfo=UTC)
WALLETS: list[Wallet] = [EvmWallet("0x" + "4c" * 32), SvmWallet(str(Keypair.from_seed(bytes([5] * 32))))]


@pytest.mark.parametrize("wallet", WALLETS, ids=repr)
def test_it_says_what_the_guide_says(wallet: Wallet) -> None:
    (name, value), *others = wallet.prove(now=NOW).items()
    assert (name, others) == ("X-Sign-In-With-X", [])
    proof = decoded(value)
    assert set(proof) == {"network", "address", "message", "signature", "issued_at"}
    assert proof["network"] == CHAINS[wallet.network].caip2
    assert proof["address"] == wallet.address
    assert proof["issued_at"] == int(NOW.timestamp())
    title, owner, network, nonce, issued = proof["message"].split("\n")
    assert title == "imgnAI X-Sign-In-With-X"
    assert (owner, network) == (f"Wallet: {wallet.address}", f"Network: {proof['network']}")
    assert issued == f"Issued At: {proof['issued_at']}"
    assert len(bytes.fromhex(nonce.removeprefix("Nonce: "))) == 16


@pytest.mark.parametrize("wallet", WALLETS, ids=repr)
def test_each_has_a_nonce_of_its_own(wallet: Wallet) -> None:
    assert len({wallet.prove(now=NOW)["X-Sign-In-With-X"] for _ in range(10)}) == 10


def test_on_base_it_is_a_personal_signature() -> None:
    proof = decoded(WALLETS[0].prove(now=NOW)["X-Sign-In-With-X"])
    signer = Account.recover_message(encode_defunct(text=proof["message"]), signature=proof["signature"])
    assert signer == WALLETS[0].address


def test_on_solana_it_is_the_owners_signature_in_base58() -> None:
    proof = decoded(WALLETS[1].prove(now=NOW)["X-Sign-In-With-X"])
    signature, owner = Signature.from_string(proof["signature"]), Pubkey.from_string(proof["address"])
    assert signature.verify(owner, proof["message"].encode())
    assert not signature.verify(owner, proof["message"].encode() + b"!")
