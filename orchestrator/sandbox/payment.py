"""A signed payment as it arrives in PAYMENT-SIGNATURE, read without trust.

Source: guide, "x402 Zero-Context Integration Guide". Everything that can be judged from the header alone is judged
here; whether the amount is the price, the payer has it and the nonce is new is the cashier's business.
"""

import base64
import binascii
from dataclasses import dataclass
from typing import Any, Literal

from pydantic_core import from_json

from orchestrator.base.payments import Network
from orchestrator.sandbox.chains import RECIPIENTS, network_of


class InvalidPayment(Exception):
    """A payment that cannot be taken; `reason` is in the words of the answer."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Payment:
    """A payment whose signature is the payer's. `amount` is in atomic USDC.

    `nonce` is the authorization's (Base) or the owner's signature (Solana); `transaction` is the id it will have on
    chain. On Base it settles between `valid_after` and `valid_before` (Unix seconds, both exclusive), on Solana
    while `blockhash` is recent; `creates_account` tells whether it brings the recipient's token account along, and
    whether that is fine with one that exists.
    """

    network: Network
    payer: str
    amount: int
    nonce: str
    transaction: str
    valid_after: int | None = None
    valid_before: int | None = None
    blockhash: bytes | None = None
    creates_account: Literal["no", "create", "create-idempotent"] = "no"
    has_memo: bool = False
    raw: str | None = None


def read_payment(header: str) -> Payment:
    """The payment in the header's value. Raises InvalidPayment."""
    document = decode(header)
    if document.get("x402Version") != 2:
        raise InvalidPayment("x402Version must be 2")
    accepted, payload = _object(document, "accepted"), _object(document, "payload")
    network = network_of(accepted.get("network"))
    if network is None:
        raise InvalidPayment("accepted.network is none that is offered")
    recipient = RECIPIENTS[network]
    expected = {"scheme": "exact", "asset": recipient.asset, "payTo": recipient.pay_to}
    for name, value in expected.items():
        if accepted.get(name) != value:
            raise InvalidPayment(f"accepted.{name} must be {value}")
    payment = _payment(network, payload)
    if whole(accepted.get("amount"), "accepted.amount") != payment.amount:
        raise InvalidPayment("accepted.amount is not the amount that was signed")
    return payment


def decode(header: str) -> dict[str, Any]:
    """The JSON object that a header carries in Base64. Raises InvalidPayment."""
    try:
        document = from_json(base64.b64decode(header, validate=True), allow_inf_nan=False)
    except (binascii.Error, ValueError):
        raise InvalidPayment("the header is not Base64 of JSON") from None
    if not isinstance(document, dict):
        raise InvalidPayment("the header must carry a JSON object")
    return document


def whole(value: object, name: str) -> int:
    """A whole number from a JSON number or its digits. Raises InvalidPayment."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 30:
        return int(value)
    raise InvalidPayment(f"{name} must be a whole number")


def _payment(network: Network, payload: dict[str, Any]) -> Payment:
    """Imports what a network needs when it is needed: most sandboxes never see a payment."""
    if network is Network.BASE:
        from orchestrator.sandbox.base_payment import read_authorization

        return read_authorization(payload)
    from orchestrator.sandbox.solana_payment import read_transaction

    return read_transaction(payload)


def _object(document: dict[str, Any], name: str) -> dict[str, Any]:
    value = document.get(name)
    if not isinstance(value, dict):
        raise InvalidPayment(f"{name} must be an object")
    return value
