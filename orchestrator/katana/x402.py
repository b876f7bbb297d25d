"""The headers of x402, read strictly: what is asked for, and the receipt of what was paid.

Source: guide, "x402 Zero-Context Integration Guide": PAYMENT-REQUIRED, PAYMENT-SIGNATURE and PAYMENT-RESPONSE are
Base64 of UTF-8 JSON.
"""

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any

#: The header of a signed payment.
PAYMENT_HEADER = "PAYMENT-SIGNATURE"
REQUIRED_HEADER = "payment-required"
RESPONSE_HEADER = "payment-response"
_LONGEST_HEADER = 64 * 1024


class BadRequirement(Exception):
    """A 402 whose PAYMENT-REQUIRED cannot be used; `reason` is for people."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Offer:
    """One way to pay, as it was offered: nothing in it is trusted until the guard has looked at it.

    `amount` is in atomic USDC. `entry` is the whole entry of `accepts`, which the signed payment repeats unchanged.
    """

    scheme: str
    network: str
    asset: str
    pay_to: str
    amount: int
    max_timeout_seconds: int
    entry: dict[str, Any]


def parse_requirement(header: str | None) -> list[Offer]:
    """The offers of a PAYMENT-REQUIRED header, in its order. Raises BadRequirement."""
    if not header:
        raise BadRequirement("the answer asks for payment and does not say how: it has no PAYMENT-REQUIRED header")
    document = _decoded(header)
    if document.get("x402Version") != 2:
        raise BadRequirement(f"PAYMENT-REQUIRED is of x402 version {document.get('x402Version')!r}; 2 is known")
    accepts = document.get("accepts")
    if not isinstance(accepts, list) or not accepts:
        raise BadRequirement("PAYMENT-REQUIRED offers no way to pay")
    return [offer for entry in accepts if (offer := _offer(entry)) is not None]


def parse_settlement(header: str | None) -> dict[str, Any] | None:
    """The receipt in a PAYMENT-RESPONSE header; None where it is missing or garbled: what it says is no condition."""
    if not header:
        return None
    try:
        return _decoded(header)
    except BadRequirement:
        return None


#: The names under which a receipt may tell the transaction; the guide shows none.
_TRANSACTION_NAMES = ("transaction", "txHash", "transactionHash", "transaction_hash", "tx_hash")
_RECEIPT_NAMES = ("success", "network", "payer", "amount")
_LONGEST_WORD = 128


def receipt_of(settlement: dict[str, Any] | None) -> dict[str, Any] | None:
    """What is kept of a settlement: `transaction` and a few short words, and nothing that could repeat a signature."""
    if settlement is None:
        return None
    words = {name: settlement[name] for name in _RECEIPT_NAMES if _is_short(settlement.get(name))}
    return words | {"transaction": transaction_in(settlement)}


def transaction_in(document: dict[str, Any] | None) -> str | None:
    """The chain's name of a payment, where a receipt or an answer has one."""
    told = ((document or {}).get(name) for name in _TRANSACTION_NAMES)
    return next((word for word in told if isinstance(word, str) and word and _is_short(word)), None)


def _is_short(value: object) -> bool:
    return isinstance(value, bool | int) or (isinstance(value, str) and len(value) <= _LONGEST_WORD)


def secrets_of(header: str) -> tuple[str, ...]:
    """What of a signed payment's header is as good as money: the header, and every long word of its payload."""
    payload = _decoded(header).get("payload")
    words = payload.values() if isinstance(payload, dict) else ()
    return (header, *(word for word in words if isinstance(word, str) and len(word) > _LONGEST_WORD))


def _decoded(header: str) -> dict[str, Any]:
    if len(header) > _LONGEST_HEADER:
        raise BadRequirement("PAYMENT-REQUIRED is absurdly long")
    try:
        text = base64.b64decode(header, validate=True).decode()
    except (binascii.Error, ValueError):
        raise BadRequirement("PAYMENT-REQUIRED is not Base64 of text") from None
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise BadRequirement("PAYMENT-REQUIRED is not JSON") from None
    if not isinstance(document, dict):
        raise BadRequirement("PAYMENT-REQUIRED is not a JSON object")
    return document


def _offer(entry: object) -> Offer | None:
    """An entry of `accepts`; None where it is none that could ever be paid."""
    if not isinstance(entry, dict):
        return None
    words = [entry.get(name) for name in ("scheme", "network", "asset", "payTo")]
    amount, seconds = _whole(entry.get("amount")), _whole(entry.get("maxTimeoutSeconds", 0))
    if amount is None or seconds is None or not all(isinstance(word, str) and word for word in words):
        return None
    scheme, network, asset, pay_to = (str(word) for word in words)
    return Offer(scheme, network, asset, pay_to, amount, seconds, entry)


def _whole(value: object) -> int | None:
    """A whole number of zero or more, from a JSON number or its digits."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 30 else None
