"""EIP-3009 on Base: the authorization that a payer signed, and whose signature it is.

Source: guide, "Base x402 payment payload"; the domain is USDC's own, as its contract on Base checks it.
"""

import hashlib
import re
from typing import Any

from eth_utils.address import is_address

from orchestrator.base.ethereum import Account, encode_typed_data, to_checksum_address
from orchestrator.base.payments import BASE_CHAIN_ID, Network
from orchestrator.sandbox.chains import RECIPIENTS
from orchestrator.sandbox.payment import InvalidPayment, Payment, whole

_RECIPIENT = RECIPIENTS[Network.BASE]
_DOMAIN = {"name": "USD Coin", "version": "2", "chainId": BASE_CHAIN_ID, "verifyingContract": _RECIPIENT.asset}
_TYPES = {
    "TransferWithAuthorization": [
        {"name": "from", "type": "address"},
        {"name": "to", "type": "address"},
        {"name": "value", "type": "uint256"},
        {"name": "validAfter", "type": "uint256"},
        {"name": "validBefore", "type": "uint256"},
        {"name": "nonce", "type": "bytes32"},
    ]
}
_NONCE = re.compile(r"0x[0-9a-fA-F]{64}")
_SIGNATURE = re.compile(r"0x[0-9a-fA-F]{130}")
#: Half of secp256k1's order: USDC's contract refuses a signature whose s is larger.
_LARGEST_S = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0


def read_authorization(payload: dict[str, Any]) -> Payment:
    """The payment that `payload` authorizes. Raises InvalidPayment."""
    wanted = payload.get("authorization")
    if not isinstance(wanted, dict):
        raise InvalidPayment("payload.authorization must be an object")
    payer, recipient = wanted.get("from"), wanted.get("to")
    if not isinstance(payer, str) or not is_address(payer):
        raise InvalidPayment("authorization.from is no address")
    if not isinstance(recipient, str) or recipient.lower() != _RECIPIENT.pay_to.lower():
        raise InvalidPayment("authorization.to is not the recipient that was offered")
    nonce = _matching(_NONCE, wanted.get("nonce"), "authorization.nonce must be 32 bytes in hex")
    payer = to_checksum_address(payer)
    payment = Payment(
        network=Network.BASE,
        payer=payer,
        amount=whole(wanted.get("value"), "authorization.value"),
        nonce=nonce.lower(),
        transaction="0x" + hashlib.sha256(f"{payer}{nonce.lower()}".encode()).hexdigest(),
        valid_after=whole(wanted.get("validAfter"), "authorization.validAfter"),
        valid_before=whole(wanted.get("validBefore"), "authorization.validBefore"),
    )
    signature = _matching(_SIGNATURE, payload.get("signature"), "payload.signature must be 65 bytes in hex")
    if _signer(payment, signature) != payer:
        raise InvalidPayment("the signature is not that of authorization.from")
    return payment


def _signer(payment: Payment, signature: str) -> str | None:
    """The address whose key made the signature over USDC's typed data; None for one that no key makes."""
    if int(signature[66:130], 16) > _LARGEST_S:
        return None
    message = {
        "from": payment.payer,
        "to": _RECIPIENT.pay_to,
        "value": payment.amount,
        "validAfter": payment.valid_after,
        "validBefore": payment.valid_before,
        "nonce": bytes.fromhex(payment.nonce[2:]),
    }
    try:
        return str(Account.recover_message(encode_typed_data(_DOMAIN, _TYPES, message), signature=signature))
    except Exception:  # noqa: BLE001 - the library raises errors of several families for bytes that are no signature
        return None


def _matching(pattern: re.Pattern[str], value: object, reason: str) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise InvalidPayment(reason)
    return value
