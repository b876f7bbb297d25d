"""Who pays, for each way of paying: from the settings, or throwaway wallets for a batch's own sandbox."""

import hashlib

from pydantic import SecretStr

from orchestrator.base.errors import Unusable
from orchestrator.base.payments import Network, Payment
from orchestrator.base.settings import Settings
from orchestrator.payments.credits import credits_payer, payer_of
from orchestrator.payments.keys import BadKey
from orchestrator.payments.payer import Payer
from orchestrator.payments.wallet import Wallet

_KEY_SETTING = {Network.BASE: "EVM_PRIVATE_KEY", Network.SOLANA: "SVM_PRIVATE_KEY"}
_KEY_FORM = {
    Network.BASE: "32 bytes in hex, as MetaMask and others export a private key",
    Network.SOLANA: "64 bytes in base58, as Phantom and others export a private key, or solana-keygen's list of them",
}


def payer_for(settings: Settings, payment: Payment) -> Payer:
    """Who pays this way, by the keys in `settings`. Raises Unusable where one is missing or of the wrong kind."""
    if payment.network is None:
        return credits_payer(settings)
    wallet = _configured_wallet(settings, payment.network)
    return _wallet_payer(f"{payment}:{wallet.address}", payment, wallet)


def configured_payments(settings: Settings) -> list[Payment]:
    """The ways to pay whose keys are set, usable or not: half a pair is one, whose other half is found missing."""
    has_credits = _is_set(settings.katana_api_key) or _is_set(settings.katana_api_secret)
    return [
        payment
        for payment in Payment
        if (has_credits if payment.network is None else _is_set(_key(settings, payment.network)))
    ]


def sandbox_payer(batch_id: str, payment: Payment) -> Payer:
    """Who pays for a batch in its own sandbox: needs no key, and no real account can be mistaken for it."""
    account = f"sandbox:{batch_id}"
    if payment.network is None:
        return Payer(account, payer_of("sandbox", "sandbox").headers)
    return _wallet_payer(account, payment, _throwaway_wallet(batch_id, payment.network))


def _wallet_payer(account: str, payment: Payment, wallet: Wallet) -> Payer:
    proof = (lambda now: wallet.prove(now=now)) if payment.is_wallet else None
    return Payer(account, {}, payment, proof, wallet)


def _configured_wallet(settings: Settings, network: Network) -> Wallet:
    name, key = _KEY_SETTING[network], _key(settings, network)
    if key is None or not key.get_secret_value():
        raise Unusable(
            f"no wallet: {name} not set",
            hint=f"set {name} or {name}_FILE ({_KEY_FORM[network]}), or try it without one: --sandbox",
        )
    try:
        return _wallet(network, key.get_secret_value(), memo=settings.solana_memo)
    except BadKey as error:
        raise Unusable(f"{name} cannot be used: {error.looks_like}", hint=f"needed: {_KEY_FORM[network]}") from None


def _wallet(network: Network, key: str, *, memo: bool) -> Wallet:
    # Imported when a wallet is needed: what these build on takes most of a second.
    if network is Network.BASE:
        from orchestrator.payments.evm import EvmWallet

        return EvmWallet(key)
    from orchestrator.payments.svm import SvmWallet

    return SvmWallet(key, memo=memo)


def _throwaway_wallet(batch_id: str, network: Network) -> Wallet:
    seed = hashlib.sha256(f"sandbox-wallet:{network}:{batch_id}".encode()).digest()
    if network is Network.BASE:
        return _wallet(network, seed.hex(), memo=True)
    from solders.keypair import Keypair

    return _wallet(network, str(Keypair.from_seed(seed)), memo=True)


def _key(settings: Settings, network: Network) -> SecretStr | None:
    return settings.evm_private_key if network is Network.BASE else settings.svm_private_key


def _is_set(secret: SecretStr | None) -> bool:
    return secret is not None and bool(secret.get_secret_value())
