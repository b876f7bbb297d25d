"""Who pays, for each way of paying."""

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from solders.keypair import Keypair

from orchestrator.base.errors import Unusable
from orchestrator.base.payments import Network, Payment
from orchestrator.base.settings import Settings, load_settings
from orchestrator.payments.payers import configured_payments, payer_for, sandbox_payer

from .judges import decoded

EVM_KEY = "0x4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318"
EVM_ADDRESS = "0x2c7536E3605D9C16a7a3D7b1898e529396a65c23"
KEYPAIR = Keypair.from_seed(bytes(range(32)))
WITH_WALLETS = [payment for payment in Payment if payment.network is not None]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def everything() -> Settings:
    return load_settings(
        katana_api_key="k", katana_api_secret="s", evm_private_key=EVM_KEY, svm_private_key=str(KEYPAIR)
    )


@pytest.mark.parametrize(
    ("payment", "account"),
    [
        (Payment.X402_BASE, f"x402-base:{EVM_ADDRESS}"),
        (Payment.X402_SOLANA, f"x402-solana:{KEYPAIR.pubkey()}"),
        (Payment.WALLET_BASE, f"wallet-base:{EVM_ADDRESS}"),
        (Payment.WALLET_SOLANA, f"wallet-solana:{KEYPAIR.pubkey()}"),
    ],
)
def test_a_wallet_pays_under_its_address(payment: Payment, account: str) -> None:
    payer = payer_for(everything(), payment)
    assert (payer.account, payer.payment, payer.headers) == (account, payment, {})
    assert payer.wallet is not None
    assert payer.wallet.network is payment.network
    assert EVM_KEY[2:] not in repr(payer)
    assert str(KEYPAIR) not in repr(payer)


def test_credits_pay_as_ever() -> None:
    payer = payer_for(everything(), Payment.CREDITS)
    assert payer.account.startswith("credits:")
    assert payer.headers == {"X-API-Key": "k", "X-API-Secret": "s"}
    assert (payer.wallet, payer.proof) == (None, None)


def test_only_a_balance_needs_proofs() -> None:
    now = datetime(2026, 5, 10, tzinfo=UTC)
    for payment in WITH_WALLETS:
        payer = payer_for(everything(), payment)
        assert (payer.proof is not None) == payment.is_wallet
        if payer.proof is not None and payer.wallet is not None:
            proof = decoded(payer.proof(now)["X-Sign-In-With-X"])
            assert (proof["address"], proof["issued_at"]) == (payer.wallet.address, int(now.timestamp()))


def test_what_is_configured() -> None:
    assert configured_payments(load_settings()) == []
    assert configured_payments(everything()) == list(Payment)
    assert configured_payments(load_settings(evm_private_key=EVM_KEY)) == [Payment.X402_BASE, Payment.WALLET_BASE]
    assert configured_payments(load_settings(svm_private_key="")) == []
    assert configured_payments(load_settings(katana_api_key="k")) == [Payment.CREDITS], "its other half is missed then"


@pytest.mark.parametrize("payment", WITH_WALLETS)
def test_a_missing_key_is_named(payment: Payment) -> None:
    name = "EVM_PRIVATE_KEY" if payment.network is Network.BASE else "SVM_PRIVATE_KEY"
    with pytest.raises(Unusable, match=f"{name} not set") as caught:
        payer_for(load_settings(), payment)
    assert f"{name}_FILE" in (caught.value.hint or "")
    assert "--sandbox" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("payment", "setting", "wrong", "looks_like"),
    [
        (Payment.X402_BASE, "evm_private_key", str(KEYPAIR), "a private key of Solana"),
        (Payment.WALLET_SOLANA, "svm_private_key", EVM_KEY, "a private key of Base"),
        (Payment.X402_SOLANA, "svm_private_key", json.dumps(list(bytes(KEYPAIR)[:32])), "a seed of 32 bytes"),
        (Payment.WALLET_BASE, "evm_private_key", EVM_ADDRESS, "an address on Base"),
    ],
)
def test_a_key_of_the_wrong_kind_is_named_and_not_shown(
    payment: Payment, setting: str, wrong: str, looks_like: str
) -> None:
    with pytest.raises(Unusable, match=f"{setting.upper()} cannot be used: .*{looks_like}") as caught:
        payer_for(load_settings(**{setting: wrong}), payment)
    assert wrong[:8] not in f"{caught.value} {caught.value.hint} {caught.value.__cause__}"


@pytest.mark.parametrize("payment", Payment)
def test_a_sandbox_batch_needs_no_key(payment: Payment) -> None:
    payer, again, other = (sandbox_payer(batch, payment) for batch in ("b1", "b1", "b2"))
    assert (payer.account, payer.payment) == ("sandbox:b1", payment)
    if payment.network is None:
        assert payer.wallet is None
        assert payer.headers
        return
    wallets = [each.wallet for each in (payer, again, other) if each.wallet is not None]
    assert {wallet.network for wallet in wallets} == {payment.network}
    first, second, third = (wallet.address for wallet in wallets)
    assert first == second != third
    assert (payer.proof is not None) == payment.is_wallet


def test_a_memo_may_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    from orchestrator.base.payments import Blockhash

    from .judges import entry_for, transaction_of

    monkeypatch.setenv("ORCHESTRATOR_SOLANA_MEMO", "false")
    wallet = payer_for(everything(), Payment.X402_SOLANA).wallet
    assert wallet is not None
    entry, blockhash = entry_for(Network.SOLANA), Blockhash(str(Keypair().pubkey()), 1)
    payment = wallet.pay(entry, now=datetime.now(UTC), blockhash=blockhash)
    assert len(transaction_of(payment).message.instructions) == 3


def test_commands_that_need_no_wallet_do_not_wait_for_one() -> None:
    """What wallets build on takes most of a second to import."""
    script = (
        "import sys, orchestrator.cli.app, orchestrator.payments.payers, orchestrator.chain.chains;"
        "print([name for name in ('eth_account', 'solders', 'eth_utils') if name in sys.modules])"
    )
    assert output_of(script) == "[]"


def test_a_wallet_does_not_make_deep_json_deadly() -> None:
    """A library below eth-account raises the limit so far that what a stranger nests would end the process."""
    script = (
        "import json, sys; before = sys.getrecursionlimit(); import orchestrator.payments.evm\n"
        "assert sys.getrecursionlimit() == before\n"
        "try: json.loads('[' * 1_000_000)\n"
        "except RecursionError: print('refused')"
    )
    assert output_of(script) == "refused"


def output_of(script: str) -> str:
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return done.stdout.strip()
