"""Who pays: the three ways of the guide's "Billing Path Examples", each with an account of its own."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from orchestrator.base.payments import Network
from orchestrator.sandbox.problems import Problem

Carried = Literal["credits", "payment", "proof"]
Unit = Literal["credits", "usdc"]
PROOF_HEADER = "X-Sign-In-With-X"
_HEADERS: dict[Carried, tuple[str, ...]] = {
    "credits": ("Authorization", "X-API-Key", "X-API-Secret"),
    "payment": ("PAYMENT-SIGNATURE", "X-402-Payment"),
    "proof": (PROOF_HEADER,),
}


@dataclass(frozen=True, slots=True)
class Customer:
    """An account, and for USDC the wallet behind it."""

    account: str
    network: Network | None = None
    address: str = ""

    @property
    def unit(self) -> Unit:
        return unit_of(self.account)

    @property
    def is_wallet(self) -> bool:
        """Whether a wallet's balance here pays."""
        return self.account.startswith("wallet:")


def direct(network: Network, address: str) -> Customer:
    """Who pays one request with a payment of its own; there is no balance behind it."""
    return Customer(f"x402:{network}:{address}", network, address)


def wallet(network: Network, address: str) -> Customer:
    """Whose balance was topped up: it is tied to the wallet and the network (and USDC, the only asset there is)."""
    return Customer(f"wallet:{network}:{address}", network, address)


def unit_of(account: str) -> Unit:
    """What an account is counted in."""
    return "usdc" if account.startswith(("x402:", "wallet:")) else "credits"


def is_polled_freely(account: str) -> bool:
    """Whether the request id alone opens its requests (guide, "x402 details": no API key is required)."""
    return unit_of(account) == "usdc"


def carried(headers: Mapping[str, str]) -> Carried | None:
    """Which way of paying a call carries, None for none. Raises Problem 400 where it mixes several."""
    found = [way for way, names in _HEADERS.items() if any(name in headers for name in names)]
    if len(found) > 1:
        raise Problem(400, "ambiguous_payment", f"sandbox: pick one way of paying, not {' and '.join(found)}")
    return found[0] if found else None


def payment_header(headers: Mapping[str, str]) -> str:
    """The signed payment, under its name or the alias for older clients."""
    return next(headers[name] for name in _HEADERS["payment"] if name in headers)
