"""What both networks' headers have in common: Base64 of UTF-8 JSON (guide, "x402 Zero-Context Integration Guide")."""

import base64
import json
import secrets
from datetime import datetime
from typing import Any

X402_VERSION = 2
PROOF_HEADER = "X-Sign-In-With-X"
_LARGEST_AMOUNT = 2**64 - 1


def encoded(document: dict[str, Any]) -> str:
    """A header's value."""
    return base64.b64encode(json.dumps(document, separators=(",", ":")).encode()).decode("ascii")


def payment_header(entry: dict[str, Any], payload: dict[str, Any]) -> str:
    """The value of PAYMENT-SIGNATURE: the accepted entry, unchanged, and what was signed for it."""
    return encoded({"x402Version": X402_VERSION, "accepted": entry, "payload": payload})


def proof_message(network_id: str, address: str, now: datetime) -> str:
    """What a wallet signs to prove itself, with a nonce of its own (guide, "X-Sign-In-With-X wallet proof")."""
    return (
        f"imgnAI {PROOF_HEADER}\nWallet: {address}\nNetwork: {network_id}\n"
        f"Nonce: {secrets.token_hex(16)}\nIssued At: {int(now.timestamp())}"
    )


def proof_headers(network_id: str, address: str, message: str, signature: str, now: datetime) -> dict[str, str]:
    """The header that carries a signed proof."""
    document = {
        "network": network_id,
        "address": address,
        "message": message,
        "signature": signature,
        "issued_at": int(now.timestamp()),
    }
    return {PROOF_HEADER: encoded(document)}


def whole_amount(entry: dict[str, Any]) -> int:
    """The amount of an entry in atomic USDC. Raises ValueError where nothing like it can be paid."""
    amount = int(str(entry.get("amount")))
    if not 0 < amount <= _LARGEST_AMOUNT:
        raise ValueError("a payment is of more than nothing, and fits into 64 bits")
    return amount
