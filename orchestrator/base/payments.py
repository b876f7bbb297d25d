"""The ways to pay, and the two networks on which USDC moves (guide, "Authentication and x402 Payment").

What is fixed here is never taken from the wire: network ids, the USDC contract and mint, and their decimals.
"""

from dataclasses import dataclass
from decimal import ROUND_UP, Decimal
from enum import StrEnum


class Unit(StrEnum):
    """What the amounts of an account are counted in: its ledger, reserves, prices, budgets and charges."""

    CREDITS = "credits"
    USDC = "usdc"


class Network(StrEnum):
    """A chain that the provider takes USDC on."""

    BASE = "base"
    SOLANA = "solana"


class Payment(StrEnum):
    """Who pays, and how; the values of a manifest's `payment`."""

    #: The credits of an API key.
    CREDITS = "credits"
    #: One signed USDC payment for each request.
    X402_BASE = "x402-base"
    X402_SOLANA = "x402-solana"
    #: The USDC that a wallet has put at the provider.
    WALLET_BASE = "wallet-base"
    WALLET_SOLANA = "wallet-solana"

    @classmethod
    def of_account(cls, account: str) -> "Payment | None":
        """How an account of this name pays; None for the one of a batch's own sandbox, which does not say."""
        word = account.partition(":")[0]
        return next((payment for payment in cls if payment == word), None)

    @property
    def unit(self) -> Unit:
        return Unit.CREDITS if self is Payment.CREDITS else Unit.USDC

    @property
    def network(self) -> Network | None:
        """The chain of the wallet; None for credits."""
        return None if self is Payment.CREDITS else Network(self.value.rpartition("-")[2])

    @property
    def is_direct(self) -> bool:
        """Whether each request carries a signed payment of its own."""
        return self in (Payment.X402_BASE, Payment.X402_SOLANA)

    @property
    def is_wallet(self) -> bool:
        """Whether requests are paid from a balance that a wallet proof opens."""
        return self in (Payment.WALLET_BASE, Payment.WALLET_SOLANA)


@dataclass(frozen=True, slots=True)
class Chain:
    """What never changes about a network: its CAIP-2 id and the address of USDC there."""

    caip2: str
    usdc: str


CHAINS = {
    Network.BASE: Chain("eip155:8453", "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913"),
    Network.SOLANA: Chain("solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp", "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v"),
}
#: The CAIP-2 id's chain id that Base's typed data are signed for.
BASE_CHAIN_ID = 8453


@dataclass(frozen=True, slots=True)
class Blockhash:
    """A finalized blockhash of Solana, the last block height at which a transaction with it can land, and the slot that
    it was final in: what is signed under it lands after that.
    """

    value: str
    last_valid_height: int
    slot: int = 0


#: The provider's price of a credit in USDC (guide, "Service URLs and Account Setup": the reference price).
USDC_PER_CREDIT = Decimal("0.0052")
#: What a quote may ask for settlement beside the work, in USDC a payment (interface "What runs by itself").
SETTLEMENT_ALLOWANCE = Decimal("0.01")
#: What it may ask on top on Solana where the recipient's token account has still to be made.
TOKEN_ACCOUNT_ALLOWANCE = Decimal("0.50")
#: The smallest amount of USDC: one atomic unit.
ATOMIC = Decimal("0.000001")


def to_atomic(amount: Decimal) -> int:
    """USDC in atomic units. Raises ValueError where it is finer than those."""
    atomic = amount / ATOMIC
    if atomic != int(atomic):
        raise ValueError(f"{amount} USDC is finer than an atomic unit")
    return int(atomic)


def from_atomic(amount: int) -> Decimal:
    """Atomic units in USDC, with six decimals."""
    return amount * ATOMIC


def settlement_share(bundle: int, job_type: str) -> Decimal:
    """What each job of a full request sets aside for its settlement, in USDC: together at least the allowance.

    A text is always alone in its request.
    """
    return (SETTLEMENT_ALLOWANCE / (1 if job_type == "text" else bundle)).quantize(ATOMIC, ROUND_UP)
