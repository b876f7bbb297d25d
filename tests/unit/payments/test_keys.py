"""Keys are read as wallets export them; whatever else is found in their place is named, and not shown."""

import json

import pytest
from solders.keypair import Keypair

from orchestrator.base.ethereum import Account
from orchestrator.payments.evm import EvmWallet
from orchestrator.payments.keys import BadKey
from orchestrator.payments.svm import SvmWallet

EVM_KEY = "4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318"
KEYPAIR = Keypair.from_seed(bytes(range(32)))
SEED_PHRASE = "legal winner thank year wave sausage worth useful legal winner thank yellow"
SOLANA = "a private key of Solana"
ADDRESS_OR_SEED = "an address on Solana, or a seed of 32 bytes"


@pytest.mark.parametrize("written", [EVM_KEY, "0x" + EVM_KEY, "0x" + EVM_KEY.upper(), f"  0x{EVM_KEY}\n"])
def test_a_key_of_base(written: str) -> None:
    assert EvmWallet(written).address == "0x2c7536E3605D9C16a7a3D7b1898e529396a65c23"


@pytest.mark.parametrize(
    "written", [str(KEYPAIR), f" {KEYPAIR}\n", json.dumps(list(bytes(KEYPAIR))), f"{list(bytes(KEYPAIR))}\n"]
)
def test_a_key_of_solana(written: str) -> None:
    assert SvmWallet(written).address == str(KEYPAIR.pubkey())


@pytest.mark.parametrize(
    ("written", "looks_like"),
    [
        ("", "empty"),
        (SEED_PHRASE, "a seed phrase"),
        ("0x2c7536E3605D9C16a7a3D7b1898e529396a65c23", "an address on Base"),
        (str(KEYPAIR), SOLANA),
        (json.dumps(list(bytes(KEYPAIR))), SOLANA),
        (str(KEYPAIR.pubkey()), ADDRESS_OR_SEED),
        (EVM_KEY[:-2], "something else"),
        ("0x" + EVM_KEY + "00", "something else"),
        ("/run/secrets/key", "something else"),
        ("0" * 64, "a number that no private key can be"),
        ("f" * 64, "a number that no private key can be"),
    ],
)
def test_what_is_no_key_of_base(written: str, looks_like: str) -> None:
    with pytest.raises(BadKey, match=looks_like) as caught:
        EvmWallet(written)
    assert_nothing_shown(written, caught.value)


@pytest.mark.parametrize(
    ("written", "looks_like"),
    [
        ("", "empty"),
        (SEED_PHRASE, "a seed phrase"),
        (EVM_KEY, "a private key of Base"),
        ("0x" + EVM_KEY, "a private key of Base"),
        ("0x2c7536E3605D9C16a7a3D7b1898e529396a65c23", "an address on Base"),
        (str(KEYPAIR.pubkey()), ADDRESS_OR_SEED),
        (json.dumps(list(bytes(KEYPAIR)[:32])), "a seed of 32 bytes"),
        (json.dumps(list(range(40))), "a list of bytes, but not of 64"),
        ("[1, 2", "a list, but not one of byte values"),
        ("[300]", "a list, but not one of byte values"),
        ('["a"]', "a list, but not one of byte values"),
        ("[" * 100_000, "a list, but not one of byte values"),
        (str(KEYPAIR)[:-1] + "l", "something else"),
        ("schlüssel", "something else"),
        (json.dumps([*bytes(KEYPAIR)[:32], *range(32)]), "its two halves do not belong together"),
    ],
)
def test_what_is_no_key_of_solana(written: str, looks_like: str) -> None:
    with pytest.raises(BadKey, match=looks_like) as caught:
        SvmWallet(written)
    assert_nothing_shown(written, caught.value)


def assert_nothing_shown(written: str, error: BadKey) -> None:
    assert error.__cause__ is None
    assert error.__suppress_context__ or error.__context__ is None
    assert not any(written[start : start + 6] in str(error) for start in range(len(written) - 5))


def test_a_wallet_is_made_of_nothing_else() -> None:
    """The library's own account is never given out: its repr is harmless, but its key is one attribute away."""
    wallet = EvmWallet(EVM_KEY)
    assert wallet.address == Account.from_key(EVM_KEY).address
    assert [name for name in dir(wallet) if not name.startswith("_")] == ["address", "network", "pay", "prove"]
