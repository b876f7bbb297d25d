"""A wallet: what it signs for us. Its key is held here and nowhere else, and never shown."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from orchestrator.base.payments import Blockhash, Network


@dataclass(frozen=True, slots=True)
class SignedPayment:
    """One signed payment: `header` is the value of PAYMENT-SIGNATURE and as good as money.

    `nonce` identifies it on chain: the authorization's nonce (Base), our owner signature (Solana). It cannot settle
    after `valid_before` (Base), or up to the slot `after_slot` and above the block height `last_valid_height`
    (Solana). `amount` is in atomic USDC.
    """

    network: Network
    payer: str
    pay_to: str
    asset: str
    amount: int
    nonce: str
    header: str = field(repr=False)
    valid_before: datetime | None = None
    last_valid_height: int | None = None
    after_slot: int | None = None


class Wallet(Protocol):
    """Signs for one address on one network."""

    @property
    def network(self) -> Network: ...

    @property
    def address(self) -> str:
        """The payer's address as the network writes it: checksummed hex (Base) or base58 (Solana)."""

    def pay(
        self, entry: dict[str, Any], *, now: datetime, blockhash: Blockhash | None = None, creates_account: bool = False
    ) -> SignedPayment:
        """Sign exactly what an `accepts` entry asks for, which the guard has passed. Each call is a new payment.

        Solana needs a `blockhash`; `creates_account`: the recipient's token account has to be made. Raises ValueError.
        """

    def prove(self, *, now: datetime) -> dict[str, str]:
        """The header X-Sign-In-With-X, fresh (guide, "X-Sign-In-With-X wallet proof")."""
