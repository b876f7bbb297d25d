"""X-Sign-In-With-X: whether a wallet is its sender's.

Source: guide, "X-Sign-In-With-X wallet proof".
"""

import base64
import binascii
import re
from datetime import datetime
from typing import Any

from orchestrator.base.payments import Network
from orchestrator.sandbox.chains import network_of
from orchestrator.sandbox.customers import Customer, wallet
from orchestrator.sandbox.payment import InvalidPayment, decode

#: How old a proof may be; clocks may differ by as much.
FRESH_SECONDS = 300
_NETWORK = re.compile(r"^Network: (\S+)$", re.MULTILINE)
_ISSUED_AT = re.compile(r"^Issued At: (\S+)$", re.MULTILINE)
_SIGNATURE_BYTES = 64
_LATEST = 1 << 40


class InvalidProof(Exception):
    """A proof that proves nothing; `reason` is in the words of the answer."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def read_proof(header: str, now: float) -> Customer:
    """The wallet behind a proof's header. Raises InvalidProof."""
    try:
        proof = decode(header)
    except InvalidPayment as invalid:
        raise InvalidProof(invalid.reason) from None
    network, issued_at = network_of(proof.get("network")), proof.get("issued_at")
    if network is None:
        raise InvalidProof("network is none that is known")
    if isinstance(issued_at, bool) or not isinstance(issued_at, int) or not 0 < issued_at < _LATEST:
        raise InvalidProof("issued_at must be a Unix timestamp")
    if abs(now - issued_at) > FRESH_SECONDS:
        raise InvalidProof("the proof is stale")
    address, message, signature = (_text(proof, name) for name in ("address", "message", "signature"))
    _check_message(message, address, str(proof["network"]), issued_at)
    signer = _signer_on_base if network is Network.BASE else _signer_on_solana
    proved = signer(address, message, signature)
    if proved is None:
        raise InvalidProof("the signature is not that of the wallet")
    return wallet(network, proved)


def _check_message(message: str, address: str, caip2: str, issued_at: int) -> None:
    """The message is ours and tells what the header tells: else an old signature could be sent as a new one."""
    if "imgnAI" not in message or address.lower() not in message.lower():
        raise InvalidProof("the message must name imgnAI and the wallet's address")
    if any(network != caip2 for network in _NETWORK.findall(message)):
        raise InvalidProof("the message is of another network")
    if [_timestamp(text) for text in _ISSUED_AT.findall(message)] != [issued_at]:
        raise InvalidProof("the message was not issued at issued_at")


def _timestamp(text: str) -> int | None:
    """Unix seconds from their digits or from an RFC 3339 date and time."""
    try:
        return int(text) if text.isdigit() else int(datetime.fromisoformat(text).timestamp())
    except ValueError:
        return None


def _signer_on_base(address: str, message: str, signature: str) -> str | None:
    """The address as Base writes it, where its key has signed the message (EIP-191)."""
    from orchestrator.base.ethereum import Account, encode_defunct

    try:
        signer = str(Account.recover_message(encode_defunct(text=message), signature=signature))
    except Exception:  # noqa: BLE001 - the library raises errors of several families for what is no signature
        return None
    return signer if signer.lower() == address.lower() else None


def _signer_on_solana(address: str, message: str, signature: str) -> str | None:
    """The address, where its key has signed the message's bytes (ed25519)."""
    from solders.pubkey import Pubkey
    from solders.signature import Signature

    try:
        owner = Pubkey.from_string(address)
    except ValueError:
        return None
    spellings = [_base58(signature), _base64(signature), _hex(signature)]
    found = [Signature.from_bytes(data) for data in spellings if data and len(data) == _SIGNATURE_BYTES]
    return address if any(each.verify(owner, message.encode()) for each in found) else None


def _base58(text: str) -> bytes | None:
    from solders.signature import Signature

    try:
        return bytes(Signature.from_string(text))
    except ValueError:
        return None


def _base64(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


def _hex(text: str) -> bytes | None:
    try:
        return bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        return None


def _text(proof: dict[str, Any], name: str) -> str:
    value = proof.get(name)
    if not isinstance(value, str) or not value:
        raise InvalidProof(f"{name} is missing")
    return value
