"""Payments on Base: what is signed, and that others find it valid."""

import copy
import pickle
from datetime import UTC, datetime, timedelta

import pytest
from eth_utils.crypto import keccak

from orchestrator.base.ethereum import Account, encode_typed_data
from orchestrator.base.payments import Network
from orchestrator.payments.evm import DOMAIN, TYPES, EvmWallet

from .judges import PAY_TO, decoded, entry_for, verdict_on_base

KEY = "0x" + "4c" * 32
ENTRY = entry_for(Network.BASE)


@pytest.fixture
def wallet() -> EvmWallet:
    return EvmWallet(KEY)


def test_the_official_facilitator_takes_it(wallet: EvmWallet) -> None:
    payment = wallet.pay(ENTRY, now=datetime.now(UTC))
    assert verdict_on_base(payment, ENTRY) == "valid"


def test_and_refuses_it_for_anything_else(wallet: EvmWallet) -> None:
    payment = wallet.pay(ENTRY, now=datetime.now(UTC))
    assert verdict_on_base(payment, ENTRY | {"amount": "13939"}) != "valid"
    assert verdict_on_base(payment, ENTRY | {"payTo": "0x" + "11" * 20}) != "valid"
    assert verdict_on_base(payment, ENTRY | {"network": "eip155:84532"}) != "valid"
    stale = wallet.pay(ENTRY, now=datetime.now(UTC) - timedelta(minutes=9))
    assert verdict_on_base(stale, ENTRY) != "valid"


def test_the_header_is_the_guides(wallet: EvmWallet) -> None:
    now = datetime(2026, 5, 10, 16, 20, tzinfo=UTC)
    payment = wallet.pay(ENTRY, now=now)
    document = decoded(payment.header)
    assert document["x402Version"] == 2
    assert document["accepted"] == ENTRY
    assert document["payload"]["authorization"] == {
        "from": wallet.address,
        "to": ENTRY["payTo"],
        "value": "13938",
        "validAfter": 0,
        "validBefore": int(now.timestamp()) + 480,
        "nonce": payment.nonce,
    }
    assert len(bytes.fromhex(payment.nonce[2:])) == 32
    assert len(bytes.fromhex(document["payload"]["signature"][2:])) == 65
    assert (payment.payer, payment.pay_to, payment.amount) == (wallet.address, PAY_TO[Network.BASE], 13938)
    assert payment.valid_before == now + timedelta(minutes=8)
    assert payment.last_valid_height is None


def test_the_signature_is_the_payers(wallet: EvmWallet) -> None:
    payload = decoded(wallet.pay(ENTRY, now=datetime.now(UTC)).header)["payload"]
    said = payload["authorization"]
    message = said | {"value": int(said["value"]), "nonce": bytes.fromhex(said["nonce"][2:])}
    typed = encode_typed_data(DOMAIN, TYPES, message)
    assert Account.recover_message(typed, signature=payload["signature"]) == wallet.address


def test_the_domain_is_that_of_usdc_on_base() -> None:
    # DOMAIN_SEPARATOR() of the contract 0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913 on Base.
    separator = "02fa7265e7c5d81118673727957699e4d68f74cd74b7db77da710fe8a2c7834f"
    message = {"from": PAY_TO[Network.BASE], "to": PAY_TO[Network.BASE], "nonce": bytes(32)}
    typed = encode_typed_data(DOMAIN, TYPES, message | {"value": 1, "validAfter": 0, "validBefore": 1})
    assert typed.header.hex() == separator


def test_the_type_is_that_of_eip_3009() -> None:
    # TRANSFER_WITH_AUTHORIZATION_TYPEHASH of EIP-3009.
    fields = ",".join(f"{field['type']} {field['name']}" for field in TYPES["TransferWithAuthorization"])
    type_hash = "7c7c6cdb67a18743f49ec6fa9b35f50d52ed05cbed4cc592e13b44501c1a2267"
    assert keccak(text=f"TransferWithAuthorization({fields})").hex() == type_hash


def test_each_payment_has_a_nonce_of_its_own(wallet: EvmWallet) -> None:
    now = datetime.now(UTC)
    assert len({wallet.pay(ENTRY, now=now).nonce for _ in range(20)}) == 20


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"asset": "0x036CbD53842c5426634e7929541eC2318f3dCF7e"}, "with USDC on Base alone"),
        ({"network": "eip155:84532"}, "with USDC on Base alone"),
        ({"amount": "0"}, "more than nothing"),
        ({"amount": "-1"}, "more than nothing"),
        ({"amount": "1.5"}, "invalid literal"),
        ({"amount": None}, "invalid literal"),
        ({"payTo": "0x12"}, "Unknown format '0x12'"),
    ],
)
def test_it_signs_nothing_but_usdc_on_base(wallet: EvmWallet, change: dict[str, str], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        wallet.pay(ENTRY | change, now=datetime.now(UTC))


def test_what_the_wire_says_about_the_domain_is_not_believed(wallet: EvmWallet) -> None:
    extra = {"extra": {"name": "Evil Coin", "version": "9", "chainId": 1}}
    payment = wallet.pay(ENTRY | extra, now=datetime.now(UTC))
    assert verdict_on_base(payment, ENTRY) == "valid"


def test_the_key_stays_where_it_is(wallet: EvmWallet) -> None:
    payment = wallet.pay(ENTRY, now=datetime.now(UTC))
    assert "4c4c" not in repr(wallet) + str(wallet) + repr(payment)
    assert payment.header not in repr(payment)
    for duplicate in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            duplicate(wallet)
    assert not hasattr(wallet, "__dict__")
