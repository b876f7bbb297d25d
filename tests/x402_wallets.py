"""Wallets for tests of the sandbox, from the guide, eth-account and solders: none of our own signing is in them."""

import base64
import json
import secrets
from typing import Any

import httpx
from solders.compute_budget import set_compute_unit_limit, set_compute_unit_price
from solders.hash import Hash
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.message import MessageV0, to_bytes_versioned
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.token import ID as TOKEN_PROGRAM
from solders.token.associated import get_associated_token_address
from solders.transaction import VersionedTransaction

from orchestrator.base.ethereum import Account, encode_defunct, encode_typed_data  # eth-account, kept harmless

ACCOUNT_PROGRAM = Pubkey.from_string("ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL")
MEMO_PROGRAM = Pubkey.from_string("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr")
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


class SolanaWallet:
    """A throwaway key on Solana. What `instructions` gives may be changed before it is signed."""

    def __init__(self) -> None:
        self._keypair = Keypair()
        self.address = str(self._keypair.pubkey())

    def instructions(self, entry: dict[str, Any], *, memo: str | None = "memo", creates: int | None = 1) -> list[Any]:
        """What a payment consists of; `creates`: how the recipient's token account is made, None for not at all."""
        mint, pay_to = Pubkey.from_string(entry["asset"]), Pubkey.from_string(entry["payTo"])
        creation = create_account(pay_to, pay_to, mint, bytes([creates])) if creates is not None else None
        found = [
            set_compute_unit_limit(80_000),
            set_compute_unit_price(1),
            creation,
            self.transfer(entry, int(entry["amount"])),
            Instruction(MEMO_PROGRAM, memo.encode(), []) if memo is not None else None,
        ]
        return [instruction for instruction in found if instruction is not None]

    def transfer(
        self, entry: dict[str, Any], amount: int, *, to: Pubkey | None = None, decimals: int = 6
    ) -> Instruction:
        """TransferChecked to the recipient of an entry, or to someone else."""
        mint, owner = Pubkey.from_string(entry["asset"]), self._keypair.pubkey()
        receiver = get_associated_token_address(to or Pubkey.from_string(entry["payTo"]), mint, TOKEN_PROGRAM)
        accounts = [
            AccountMeta(get_associated_token_address(owner, mint, TOKEN_PROGRAM), False, True),
            AccountMeta(mint, False, False),
            AccountMeta(receiver, False, True),
            AccountMeta(owner, True, False),
        ]
        return Instruction(TOKEN_PROGRAM, bytes([12]) + amount.to_bytes(8, "little") + bytes([decimals]), accounts)

    def sign(self, entry: dict[str, Any], instructions: list[Any], blockhash: str, *, signer: Any = None) -> str:
        """PAYMENT-SIGNATURE with a transaction of these instructions; another `signer` signs in our place."""
        message = MessageV0.try_compile(
            Pubkey.from_string(entry["payTo"]), instructions, [], Hash.from_string(blockhash)
        )
        signature = (signer or self._keypair).sign_message(to_bytes_versioned(message))
        transaction = VersionedTransaction.populate(message, [Signature.default(), signature])
        payload = {"payer": self.address, "transaction": base64.b64encode(bytes(transaction)).decode()}
        return encoded({"x402Version": 2, "accepted": entry, "payload": payload})

    def prove(self, *, now: float, spelling: str = "base58", **told: Any) -> dict[str, str]:
        """X-Sign-In-With-X of this wallet, with its signature as base58, base64 or hex."""
        network = "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp"
        message = proof_message(network, self.address, now)
        signature = self._keypair.sign_message(message.encode())
        spelled = {
            "base58": str(signature),
            "base64": base64.b64encode(bytes(signature)).decode(),
            "hex": bytes(signature).hex(),
        }
        return proof_header(network, self.address, message, spelled[spelling], now, told)


def create_account(funder: Pubkey, owner: Pubkey, mint: Pubkey, data: bytes) -> Instruction:
    """Create (0) or CreateIdempotent (1) of the associated token program."""
    accounts = [
        AccountMeta(funder, True, True),
        AccountMeta(get_associated_token_address(owner, mint, TOKEN_PROGRAM), False, True),
        AccountMeta(owner, False, False),
        AccountMeta(mint, False, False),
        AccountMeta(Pubkey.default(), False, False),
        AccountMeta(TOKEN_PROGRAM, False, False),
    ]
    return Instruction(ACCOUNT_PROGRAM, data, accounts)


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
