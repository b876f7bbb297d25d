"""Wallets for tests of the sandbox, from the guide and eth-account alone: none of our own signing is in them."""

import base64
import json
import secrets
from typing import Any

import httpx
from eth_account import Account
from eth_account.messages import encode_defunct, encode_typed_data

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


def encoded(document: object) -> str:
    """A header's value: Base64 of JSON."""
    return base64.b64encode(json.dumps(document).encode()).decode()


def decoded(header: str) -> Any:
    """What a header's value carries."""
    return json.loads(base64.b64decode(header))


def offers(response: httpx.Response) -> list[dict[str, Any]]:
    """The ways to pay that a 402 tells of: Base first."""
    assert response.status_code == 402, response.text
    return list(decoded(response.headers["PAYMENT-REQUIRED"])["accepts"])


class BaseWallet:
    """A throwaway key on Base."""

    def __init__(self) -> None:
        self._account = Account.create()
        self.address: str = self._account.address

    def pay(self, entry: dict[str, Any], *, now: float, signed: dict[str, Any] | None = None, **told: Any) -> str:
        """PAYMENT-SIGNATURE for an entry; `signed` differs before the signature is made, `told` after."""
        authorization = {
            "from": self.address,
            "to": entry["payTo"],
            "value": entry["amount"],
            "validAfter": int(now) - 60,
            "validBefore": int(now) + 300,
            "nonce": "0x" + secrets.token_hex(32),
        } | (signed or {})
        domain = {"name": "USD Coin", "version": "2", "chainId": 8453, "verifyingContract": entry["asset"]}
        message = {
            **authorization,
            "value": int(authorization["value"]),
            "nonce": bytes.fromhex(authorization["nonce"][2:]),
        }
        signature = self._account.sign_message(encode_typed_data(domain, _TYPES, message)).signature
        payload = {"authorization": authorization | told, "signature": "0x" + signature.hex().removeprefix("0x")}
        return encoded({"x402Version": 2, "accepted": entry, "payload": payload})

    def prove(self, *, now: float, **told: Any) -> dict[str, str]:
        """X-Sign-In-With-X of this wallet; `told` differs from what was signed."""
        message = proof_message("eip155:8453", self.address, now)
        signature = self._account.sign_message(encode_defunct(text=message)).signature
        return proof_header("eip155:8453", self.address, message, "0x" + signature.hex().removeprefix("0x"), now, told)


def proof_message(network: str, address: str, now: float) -> str:
    """The guide's message."""
    return (
        f"imgnAI X-Sign-In-With-X\nWallet: {address}\nNetwork: {network}\n"
        f"Nonce: {secrets.token_hex(8)}\nIssued At: {int(now)}"
    )


def proof_header(
    network: str, address: str, message: str, signature: str, now: float, told: dict[str, Any]
) -> dict[str, str]:
    """The header with a signed message in it."""
    proof = {
        "network": network,
        "address": address,
        "message": message,
        "signature": signature,
        "issued_at": int(now),
    } | told
    return {"X-Sign-In-With-X": encoded(proof)}
