"""The provider's addresses can be paid by nobody for real, and quotes are the guide's sums."""

import hashlib
from decimal import Decimal
from typing import Any

import pytest
from eth_utils.address import to_checksum_address
from solders.pubkey import Pubkey

from orchestrator.base.payments import CHAINS, Network
from orchestrator.sandbox import chains, x402


def test_the_recipient_on_base_is_a_hash() -> None:
    digest = hashlib.sha256(b"katana sandbox: the provider's recipient on Base").hexdigest()
    assert chains.RECIPIENTS[Network.BASE].pay_to == to_checksum_address("0x" + digest[:40])


def test_the_recipient_on_solana_has_no_key() -> None:
    program = Pubkey.from_string("ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL")
    derived, _ = Pubkey.find_program_address([b"katana sandbox"], program)
    assert chains.RECIPIENTS[Network.SOLANA].pay_to == str(derived)
    assert not derived.is_on_curve()


@pytest.mark.parametrize("network", list(Network))
def test_a_blocks_time_is_when_it_is_the_newest(network: Network) -> None:
    number = chains.block_at(network, 1_790_000_000.0)
    assert chains.block_time(network, number) <= 1_790_000_000.0 < chains.block_time(network, number + 1)
    assert chains.block_digest(network, number) != chains.block_digest(network, number + 1)


def test_a_quote_is_the_price_and_the_settlement() -> None:
    amounts = {
        network: x402.price_atomic(Decimal("0.01"), network, has_token_account=True) for network in chains.RECIPIENTS
    }
    assert amounts == {Network.BASE: 13938, Network.SOLANA: 11500}, "the guide's example"
    options: Any = x402.payment_required(amounts, Decimal("0.01"))["accepts"]
    base, solana = options
    assert (base["amount"], base["maxAmountRequired"], base["maxTimeoutSeconds"]) == ("13938", "13938", 3600)
    assert base["extra"]["estimatedGasUsd"] == "0.003938"
    assert solana["asset"] == CHAINS[Network.SOLANA].usdc
