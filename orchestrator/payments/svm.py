"""A wallet on Solana: USDC by a transaction that the recipient co-signs (guide, "Solana x402 payment payload")."""

import base64
from datetime import datetime
from typing import Any, NoReturn

from solders.hash import Hash, ParseHashError
from solders.keypair import Keypair
from solders.message import to_bytes_versioned
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.transaction import VersionedTransaction

from orchestrator.base.payments import CHAINS, Blockhash, Network
from orchestrator.payments.header import payment_header, proof_headers, proof_message, whole_amount
from orchestrator.payments.keys import BadKey, svm_key
from orchestrator.payments.transaction import transfer_message
from orchestrator.payments.wallet import SignedPayment


class SvmWallet:
    """Signs with one private key, which is nowhere else: not in its repr, and it cannot be pickled or copied."""

    __slots__ = ("_has_memo", "_keypair")

    def __init__(self, key: str, *, memo: bool = True) -> None:
        """`memo`: whether payments carry a random one. Raises BadKey."""
        self._has_memo = memo
        try:
            self._keypair = Keypair.from_bytes(svm_key(key))
        except ValueError:
            raise BadKey("its two halves do not belong together") from None

    @property
    def network(self) -> Network:
        return Network.SOLANA

    @property
    def address(self) -> str:
        return str(self._keypair.pubkey())

    def pay(
        self, entry: dict[str, Any], *, now: datetime, blockhash: Blockhash | None = None, creates_account: bool = False
    ) -> SignedPayment:
        """See Wallet.pay: our signature alone; the recipient adds its own, as the payer of the fee."""
        chain, amount = CHAINS[Network.SOLANA], whole_amount(entry)
        if entry.get("network") != chain.caip2 or entry.get("asset") != chain.usdc:
            raise ValueError("a wallet on Solana pays with USDC on Solana alone")
        if blockhash is None:
            raise ValueError("a payment on Solana needs a blockhash")
        owner, pay_to = self._keypair.pubkey(), Pubkey.from_string(entry["payTo"])
        if pay_to == owner:
            raise ValueError("a wallet does not pay itself")
        message = transfer_message(
            owner,
            pay_to,
            amount,
            _hash(blockhash),
            creates_account=creates_account,
            memo=self._has_memo,
        )
        signature = self._keypair.sign_message(to_bytes_versioned(message))
        # The recipient is the first to sign a transaction whose fee it pays; its place stays empty.
        transaction = VersionedTransaction.populate(message, [Signature.default(), signature])
        payload = {"payer": self.address, "transaction": base64.b64encode(bytes(transaction)).decode("ascii")}
        return SignedPayment(
            network=Network.SOLANA,
            payer=self.address,
            pay_to=str(pay_to),
            asset=chain.usdc,
            amount=amount,
            nonce=str(signature),
            header=payment_header(entry, payload),
            last_valid_height=blockhash.last_valid_height,
            after_slot=blockhash.slot,
        )

    def prove(self, *, now: datetime) -> dict[str, str]:
        """See Wallet.prove: ed25519 over the bytes of the message."""
        network_id = CHAINS[Network.SOLANA].caip2
        message = proof_message(network_id, self.address, now)
        return proof_headers(network_id, self.address, message, str(self._keypair.sign_message(message.encode())), now)

    def __repr__(self) -> str:
        return f"SvmWallet({self.address})"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a wallet is not for copying")


def _hash(blockhash: Blockhash) -> Hash:
    try:
        return Hash.from_string(blockhash.value)
    except ParseHashError:
        raise ValueError("what an endpoint gave as a blockhash is none") from None
