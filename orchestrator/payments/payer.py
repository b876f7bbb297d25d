"""Who pays, as the rest of the program knows it: an account, and headers or a wallet that nobody else looks into."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from orchestrator.base.payments import Payment
from orchestrator.payments.wallet import Wallet


@dataclass(frozen=True, slots=True)
class Payer:
    """Who pays: `account` may be stored and shown: a key's digest, or the way of paying and the wallet's address.

    `headers` are secret and the same for each call; `proof` makes secret ones anew for each call, as of the time it is
    given (a wallet's proof goes stale); `wallet` signs payments, where each request carries one of its own or the
    balance is topped up.
    """

    account: str
    headers: dict[str, str] = field(repr=False)
    payment: Payment = Payment.CREDITS
    proof: Callable[[datetime], Mapping[str, str]] | None = field(default=None, repr=False)
    wallet: Wallet | None = field(default=None, repr=False)

    @property
    def balance_of(self) -> str | None:
        """The address of the wallet whose balance at the provider pays; None where no wallet's balance does."""
        return self.wallet.address if self.wallet is not None and self.payment.is_wallet else None
