"""Payments on Solana: what is signed, and that others find it valid."""

import copy
import pickle
from datetime import UTC, datetime

import pytest
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.signature import Signature

from orchestrator.base.payments import CHAINS, Blockhash, Network
from orchestrator.payments.svm import SvmWallet
from orchestrator.payments.wallet import SignedPayment

from .judges import ORACLE, PAY_TO, cosigned, decoded, entry_for, transaction_of, verdict_on_solana

KEYPAIR = Keypair.from_seed(bytes([5] * 32))
BLOCKHASH = Blockhash(str(Pubkey(bytes([7] * 32))), 4321)
ENTRY = entry_for(Network.SOLANA, 11500)
NOW = datetime(2026, 5, 10, tzinfo=UTC)
#: The token account of KEYPAIR's owner, and programs by their addresses.
TOKEN, BUDGET = "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA", "ComputeBudget111111111111111111111111111111"
ACCOUNTS, MEMO = "ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL", "MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr"


@pytest.fixture
def wallet() -> SvmWallet:
    return SvmWallet(str(KEYPAIR))


def paid(wallet: SvmWallet, *, creates_account: bool = False) -> SignedPayment:
    return wallet.pay(ENTRY, now=NOW, blockhash=BLOCKHASH, creates_account=creates_account)


def instructions(payment: SignedPayment) -> list[tuple[str, bytes, list[str]]]:
    """The program, data and accounts of each instruction."""
    message = transaction_of(payment).message
    keys = [str(key) for key in message.account_keys]
    return [
        (keys[each.program_id_index], bytes(each.data), [keys[account] for account in each.accounts])
        for each in message.instructions
    ]


@pytest.mark.parametrize("memo", [True, False])
def test_the_official_facilitator_takes_it(memo: bool) -> None:
    wallet = SvmWallet(str(KEYPAIR), memo=memo)
    assert verdict_on_solana(paid(wallet), ENTRY) == "valid"


def test_and_refuses_it_for_anything_else(wallet: SvmWallet) -> None:
    payment = paid(wallet)
    assert verdict_on_solana(payment, ENTRY | {"amount": "11501"}) != "valid"
    assert verdict_on_solana(payment, ENTRY | {"asset": str(Pubkey(bytes([3] * 32)))}) != "valid"
    assert verdict_on_solana(payment, ENTRY | {"network": "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1"}) != "valid"


def test_the_header_is_the_guides(wallet: SvmWallet) -> None:
    payment = paid(wallet)
    document = decoded(payment.header)
    assert document["x402Version"] == 2
    assert document["accepted"] == ENTRY
    assert set(document["payload"]) == {"payer", "transaction"}
    assert document["payload"]["payer"] == wallet.address == str(KEYPAIR.pubkey())
    assert (payment.payer, payment.pay_to, payment.amount) == (wallet.address, PAY_TO[Network.SOLANA], 11500)
    assert (payment.last_valid_height, payment.valid_before) == (4321, None)


def test_the_payee_pays_the_fee_and_only_our_signature_is_there(wallet: SvmWallet) -> None:
    payment = paid(wallet)
    transaction = transaction_of(payment)
    assert [str(key) for key in transaction.message.account_keys[:2]] == [PAY_TO[Network.SOLANA], wallet.address]
    assert list(transaction.signatures) == [Signature.default(), Signature.from_string(payment.nonce)]
    assert transaction.verify_with_results() == [False, True]
    assert cosigned(transaction).verify_with_results() == [True, True]
    assert str(transaction.message.recent_blockhash) == BLOCKHASH.value


def test_it_moves_the_exact_amount_between_the_usdc_accounts(wallet: SvmWallet) -> None:
    limit, price, transfer, memo = instructions(paid(wallet))
    assert limit == (BUDGET, bytes([2]) + (20_000).to_bytes(4, "little"), [])
    assert price == (BUDGET, bytes([3]) + (1).to_bytes(8, "little"), [])
    own, theirs = token_account(KEYPAIR.pubkey()), token_account(ORACLE.pubkey())
    data = bytes([12]) + (11500).to_bytes(8, "little") + bytes([6])
    assert transfer == (TOKEN, data, [own, CHAINS[Network.SOLANA].usdc, theirs, wallet.address])
    assert memo[0] == MEMO
    assert len(bytes.fromhex(memo[1].decode())) == 16


def test_it_makes_the_payees_account_where_that_is_missing(wallet: SvmWallet) -> None:
    limit, price, create, transfer, memo = instructions(paid(wallet, creates_account=True))
    system = "11111111111111111111111111111111"
    payee = PAY_TO[Network.SOLANA]
    accounts = [payee, token_account(ORACLE.pubkey()), payee, CHAINS[Network.SOLANA].usdc, system, TOKEN]
    assert create == (ACCOUNTS, bytes([1]), accounts)
    assert [price[0], transfer[0], memo[0]] == [BUDGET, TOKEN, MEMO]
    # Making an account costs more than the 20,000 units of a transfer.
    assert int.from_bytes(limit[1][1:], "little") == 80_000
    assert cosigned(transaction_of(paid(wallet, creates_account=True))).verify_with_results() == [True, True]


def test_two_equal_payments_are_two_transactions(wallet: SvmWallet) -> None:
    assert len({paid(wallet).nonce for _ in range(20)}) == 20


def test_without_a_memo_they_would_be_one() -> None:
    """Why there is a memo: under one blockhash, the second of two equal payments would be the first one again."""
    wallet = SvmWallet(str(KEYPAIR), memo=False)
    assert paid(wallet) == paid(wallet)
    other = Blockhash(str(Pubkey(bytes([8] * 32))), 4322)
    assert wallet.pay(ENTRY, now=NOW, blockhash=other).nonce != paid(wallet).nonce


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"asset": "4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU"}, "with USDC on Solana alone"),
        ({"network": "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1"}, "with USDC on Solana alone"),
        ({"amount": "0"}, "more than nothing"),
        ({"amount": "18446744073709551616"}, "fits into 64 bits"),
        ({"payTo": "0x12"}, "Invalid Base58"),
        ({"payTo": str(KEYPAIR.pubkey())}, "does not pay itself"),
    ],
)
def test_it_signs_nothing_but_usdc_on_solana(wallet: SvmWallet, change: dict[str, str], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        wallet.pay(ENTRY | change, now=NOW, blockhash=BLOCKHASH)


def test_it_needs_a_blockhash(wallet: SvmWallet) -> None:
    with pytest.raises(ValueError, match="blockhash"):
        wallet.pay(ENTRY, now=NOW)
    with pytest.raises(ValueError, match="as a blockhash is none"):
        wallet.pay(ENTRY, now=NOW, blockhash=Blockhash("nonsense", 1))


def test_the_key_stays_where_it_is(wallet: SvmWallet) -> None:
    payment = paid(wallet)
    assert str(KEYPAIR) not in repr(wallet) + str(wallet) + repr(payment)
    assert payment.header not in repr(payment)
    for duplicate in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            duplicate(wallet)
    assert not hasattr(wallet, "__dict__")


def token_account(owner: Pubkey) -> str:
    """As the library of the token program derives it."""
    from solders.token.associated import get_associated_token_address

    return str(get_associated_token_address(owner, Pubkey.from_string(CHAINS[Network.SOLANA].usdc)))
