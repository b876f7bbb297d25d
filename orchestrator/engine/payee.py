"""Whom a provider tells to pay, beside its offers: asked before one is pinned at first use."""

import asyncio

from orchestrator.base.payments import Network
from orchestrator.chain.chains import Chains
from orchestrator.katana.client import KatanaClient
from orchestrator.katana.line import ProviderUnavailable
from orchestrator.katana.x402 import Offer
from orchestrator.katana.x402_document import read_recipient
from orchestrator.payments import guard
from orchestrator.payments.guard import PaymentRefused

_ASK_SECONDS = 20.0


async def told_recipient(client: KatanaClient, network: Network) -> str | None:
    """Whom the description of the x402 endpoints names, as its network writes it; None: it is not told now."""
    try:
        async with asyncio.timeout(_ASK_SECONDS):
            told = read_recipient(await client.x402(), network)
    except (ProviderUnavailable, TimeoutError):
        return None
    return None if told is None else guard.address_of(told, network)


async def creates_account(chains: Chains, network: Network, offer: Offer) -> bool:
    """Whether paying an offer makes its recipient's account for USDC. Raises RpcUnavailable."""
    if network is not Network.SOLANA or guard.address_of(offer.pay_to, network) is None:
        return False
    return not await chains.has_token_account(offer.pay_to)


async def require_as_told(client: KatanaClient, network: Network, offered: str) -> None:
    """Raises PaymentRefused where an offer names another recipient than the provider tells elsewhere."""
    told = await told_recipient(client, network)
    if told is not None and told != offered:
        raise PaymentRefused(
            f"the provider asks to pay {offered}, and its own GET /v1/x402 tells {told}: once you know from the "
            f"provider which one is right, set {guard.PAY_TO_SETTING[network]}"
        )
