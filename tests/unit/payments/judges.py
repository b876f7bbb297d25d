"""The independent judges of what our wallets sign: the facilitators of the official x402 package."""

import base64
import json
import sys
from types import ModuleType
from typing import Any

from solders.keypair import Keypair
from solders.transaction import VersionedTransaction

from orchestrator.base.ethereum import Account, encode_typed_data
from orchestrator.base.payments import CHAINS, Network
from orchestrator.payments.wallet import SignedPayment

#: `x402.mechanisms` imports RPC clients when it is imported, for signers that are not used here; Solana's cannot be
#: installed beside our solders. Empty modules of their names stand in for them.
_UNUSED = {
    "web3": ("Web3",),
    "web3.middleware": ("ExtraDataToPOAMiddleware",),
    "solana": (),
    "solana.rpc": (),
    "solana.rpc.api": ("Client",),
    "solana.rpc.commitment": ("Confirmed",),
    "solana.rpc.types": ("TxOpts",),
}
for _name, _members in _UNUSED.items():
    _module = sys.modules.setdefault(_name, ModuleType(_name))
    for _member in _members:
        setattr(_module, _member, None)

from x402.mechanisms.evm.exact.facilitator import ExactEvmScheme  # noqa: E402 - after the stand-ins
from x402.mechanisms.svm.exact.facilitator import ExactSvmScheme  # noqa: E402 - as above
from x402.schemas import PaymentPayload, PaymentRequirements  # noqa: E402 - as above

#: The payee on Solana, who co-signs; on Base nobody needs to hold the payee's key.
ORACLE = Keypair.from_seed(bytes([9] * 32))
PAY_TO = {Network.BASE: "0xc523Ec7ca36DD277130b874Ae6776B97E074F6Be", Network.SOLANA: str(ORACLE.pubkey())}


def entry_for(network: Network, amount: int = 13938) -> dict[str, Any]:
    """An entry of `accepts` as the guide shows it."""
    chain = CHAINS[network]
    return {
        "scheme": "exact",
        "network": chain.caip2,
        "asset": chain.usdc,
        "payTo": PAY_TO[network],
        "amount": str(amount),
        "maxAmountRequired": str(amount),
        "maxTimeoutSeconds": 3600,
    }


def decoded(header: str) -> dict[str, Any]:
    """What a header says."""
    document = json.loads(base64.b64decode(header, validate=True).decode())
    assert isinstance(document, dict)
    return document


def transaction_of(payment: SignedPayment) -> VersionedTransaction:
    """The transaction that a payment on Solana carries."""
    return VersionedTransaction.from_bytes(base64.b64decode(decoded(payment.header)["payload"]["transaction"]))


def verdict_on_base(payment: SignedPayment, wanted: dict[str, Any]) -> str:
    """What the official facilitator says about a payment for the entry `wanted`: "valid", or its reason."""
    # Its requirements name the domain in `extra`, where our provider leaves it to the pin.
    signer: Any = _BaseSigner()  # what verifying asks of the protocol, and no more
    return _verdict(ExactEvmScheme(signer), payment, wanted | {"extra": {"name": "USD Coin", "version": "2"}})


def verdict_on_solana(payment: SignedPayment, wanted: dict[str, Any]) -> str:
    """The same for Solana, where its requirements name the fee payer in `extra`: with us that is the payee."""
    signer: Any = _SolanaSigner()
    return _verdict(ExactSvmScheme(signer), payment, wanted | {"extra": {"feePayer": wanted["payTo"]}})


def _verdict(facilitator: Any, payment: SignedPayment, wanted: dict[str, Any]) -> str:
    payload = PaymentPayload.model_validate(decoded(payment.header))
    answer = facilitator.verify(payload, PaymentRequirements.model_validate(wanted))
    assert answer.payer in ("", payment.payer)
    return "valid" if answer.is_valid else str(answer.invalid_reason)


class _BaseSigner:
    """Base as a facilitator sees it: externally owned accounts, one contract, and transfers that always work."""

    def get_addresses(self) -> list[str]:
        return []

    def get_code(self, address: str) -> bytes:
        return b"\x60" if address.lower() == CHAINS[Network.BASE].usdc.lower() else b""

    def read_contract(self, *_: Any) -> None:
        return None

    def verify_typed_data(
        self, address: str, domain: Any, types: Any, primary_type: str, message: Any, signature: bytes
    ) -> bool:
        fields = {name: [vars(field) for field in fields] for name, fields in types.items()}
        own_domain = {
            "name": domain.name,
            "version": domain.version,
            "chainId": domain.chain_id,
            "verifyingContract": domain.verifying_contract,
        }
        typed = encode_typed_data(own_domain, {primary_type: fields[primary_type]}, message)
        return bool(Account.recover_message(typed, signature=signature) == address)


class _SolanaSigner:
    """The payee, who adds its signature and lets the library check all of them."""

    def get_addresses(self) -> list[str]:
        return [str(ORACLE.pubkey())]

    def sign_transaction(self, tx_base64: str, fee_payer: str, network: str) -> str:
        return base64.b64encode(bytes(cosigned(VersionedTransaction.from_bytes(base64.b64decode(tx_base64))))).decode()

    def simulate_transaction(self, tx_base64: str, network: str) -> None:
        transaction = VersionedTransaction.from_bytes(base64.b64decode(tx_base64))
        if not all(transaction.verify_with_results()):
            raise RuntimeError("a signature does not hold")


def cosigned(transaction: VersionedTransaction) -> VersionedTransaction:
    """A payment with the payee's signature in its place."""
    from solders.message import to_bytes_versioned

    own = ORACLE.sign_message(to_bytes_versioned(transaction.message))
    return VersionedTransaction.populate(transaction.message, [own, *transaction.signatures[1:]])
