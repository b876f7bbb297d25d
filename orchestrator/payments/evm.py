"""A wallet on Base: USDC by signed authorization, EIP-3009 (guide, "Base x402 payment payload")."""

import secrets
from datetime import datetime, timedelta
from typing import Any, NoReturn

from orchestrator.base.ethereum import Account, encode_defunct, encode_typed_data, to_checksum_address
from orchestrator.base.payments import BASE_CHAIN_ID, CHAINS, Blockhash, Network
from orchestrator.payments.header import payment_header, proof_headers, proof_message, whole_amount
from orchestrator.payments.keys import BadKey, evm_key
from orchestrator.payments.wallet import SignedPayment

#: How long an authorization may be settled: the guide's five to ten minutes.
VALID_FOR = timedelta(minutes=8)
#: The contract's own domain, pinned: what is signed is good for real USDC on Base and for nothing else.
DOMAIN = {
    "name": "USD Coin",
    "version": "2",
    "chainId": BASE_CHAIN_ID,
    "verifyingContract": CHAINS[Network.BASE].usdc,
}
TYPES = {
    "TransferWithAuthorization": [
        {"name": "from", "type": "address"},
        {"name": "to", "type": "address"},
        {"name": "value", "type": "uint256"},
        {"name": "validAfter", "type": "uint256"},
        {"name": "validBefore", "type": "uint256"},
        {"name": "nonce", "type": "bytes32"},
    ]
}


class EvmWallet:
    """Signs with one private key, which is nowhere else: not in its repr, and it cannot be pickled or copied."""

    __slots__ = ("_account",)

    def __init__(self, key: str) -> None:
        """Raises BadKey."""
        try:
            self._account = Account.from_key(evm_key(key))
        except ValueError:
            raise BadKey("it is a number that no private key can be") from None

    @property
    def network(self) -> Network:
        return Network.BASE

    @property
    def address(self) -> str:
        return str(self._account.address)

    def pay(
        self, entry: dict[str, Any], *, now: datetime, blockhash: Blockhash | None = None, creates_account: bool = False
    ) -> SignedPayment:
        """See Wallet.pay: the authorization holds for eight minutes, under a nonce of its own."""
        chain, amount = CHAINS[Network.BASE], whole_amount(entry)
        if entry.get("network") != chain.caip2 or str(entry.get("asset")).lower() != chain.usdc.lower():
            raise ValueError("a wallet on Base pays with USDC on Base alone")
        nonce = secrets.token_bytes(32)
        valid_before = now + VALID_FOR
        authorization = {
            "from": self.address,
            "to": to_checksum_address(entry["payTo"]),
            "value": amount,
            "validAfter": 0,
            "validBefore": int(valid_before.timestamp()),
            "nonce": nonce,
        }
        signed = self._account.sign_message(encode_typed_data(DOMAIN, TYPES, authorization))
        payload = {
            "authorization": {**authorization, "value": str(amount), "nonce": "0x" + nonce.hex()},
            "signature": "0x" + signed.signature.hex(),
        }
        return SignedPayment(
            network=Network.BASE,
            payer=self.address,
            pay_to=str(authorization["to"]),
            asset=chain.usdc,
            amount=amount,
            nonce="0x" + nonce.hex(),
            header=payment_header(entry, payload),
            valid_before=valid_before.replace(microsecond=0),
        )

    def prove(self, *, now: datetime) -> dict[str, str]:
        """See Wallet.prove: EIP-191."""
        network_id = CHAINS[Network.BASE].caip2
        message = proof_message(network_id, self.address, now)
        signature = self._account.sign_message(encode_defunct(text=message)).signature
        return proof_headers(network_id, self.address, message, "0x" + signature.hex(), now)

    def __repr__(self) -> str:
        return f"EvmWallet({self.address})"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a wallet is not for copying")
