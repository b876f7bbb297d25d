"""The two virtual chains: what the provider publishes about itself there, and blocks that follow the clock.

Addresses of USDC are the true ones. The provider's recipients are addresses that nobody can ever sign for: a hash on
Base, a program-derived address on Solana. So nothing that is signed for the sandbox can move money of anyone's.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from orchestrator.base.payments import CHAINS, Network
from orchestrator.sandbox.records import Settlement

#: What a wallet owns when it is first seen, in atomic USDC.
FIRST_FUNDS = 1_000_000_000
#: How many blocks a blockhash of Solana is good for.
BLOCKHASH_BLOCKS = 150
#: The genesis of each chain, Unix seconds, and the seconds from block to block.
_BLOCKS = {Network.BASE: (1_686_789_347, 2.0), Network.SOLANA: (1_584_368_940, 0.4)}


@dataclass(frozen=True, slots=True)
class Recipient:
    """Where the provider takes USDC on a network; `gas_usd` is what it adds to a price for settling there."""

    network: Network
    pay_to: str
    gas_usd: Decimal

    @property
    def caip2(self) -> str:
        return CHAINS[self.network].caip2

    @property
    def asset(self) -> str:
        return CHAINS[self.network].usdc


#: In the order of the guide: Base first.
RECIPIENTS = {
    Network.BASE: Recipient(Network.BASE, "0xc523Ec7ca36DD277130b874Ae6776B97E074F6Be", Decimal("0.003938")),
    Network.SOLANA: Recipient(Network.SOLANA, "E6KL4nEbL6noZ3B23goVVoAe1v38TAL7Hwd4i6m4wLb7", Decimal("0.001500")),
}
#: What the first payment on Solana pays on top, for the recipient's token account that it creates.
TOKEN_ACCOUNT_USD = Decimal("0.200000")


@dataclass(frozen=True, slots=True)
class View:
    """A chain as an endpoint sees it at `now`: the payments to the provider that are on it, oldest first.

    `has_token_account`: whether the provider has its token account on Solana by then.
    """

    now: float
    payments: Sequence[Settlement]
    has_token_account: bool


def network_of(caip2: object) -> Network | None:
    """The network with that CAIP-2 id, None for any other."""
    return next((network for network, chain in CHAINS.items() if chain.caip2 == caip2), None)


def block_at(network: Network, at: float) -> int:
    """The number of the newest block at an instant. Every block is final at once."""
    genesis, seconds = _BLOCKS[network]
    return max(0, int((at - genesis) / seconds))


def block_time(network: Network, number: int) -> float:
    """When a block was made, Unix seconds."""
    genesis, seconds = _BLOCKS[network]
    return genesis + number * seconds


def block_digest(network: Network, number: int) -> bytes:
    """The 32 bytes of a block's hash."""
    return hashlib.sha256(f"sandbox {network} block {number}".encode()).digest()
