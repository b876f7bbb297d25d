"""Who pays, as the rest of the program knows it: an account, and headers or a wallet that nobody else looks into."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from orchestrator.base.payments import Payment
from orchestrator.payments.wallet import Wallet


@dataclass(frozen=True, slots=True)
class Payer:
    """Who pays: `account` may be stored and shown: a key's digest, or the way of paying and the wallet's address.

    `headers` are secret and the same for each call; `proof` makes secret ones anew for each call (a wallet's proof goes
    stale); `wallet` signs payments, where each request carries one of its own or the balance is topped up.
    """

    account: str
    headers: dict[str, str] = field(repr=False)
    payment: Payment = Payment.CREDITS
    proof: Callable[[], Mapping[str, str]] | None = field(default=None, repr=False)
    wallet: Wallet | None = field(default=None, repr=False)
