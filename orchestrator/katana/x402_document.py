"""What the provider tells of its x402 endpoints (guide, "x402 discovery endpoint"), which leaves its shape open."""

from collections.abc import Iterator
from typing import Any

from orchestrator.base.payments import CHAINS, Network


def entries_of(document: Any, network: Network) -> Iterator[dict[str, Any]]:
    """The objects about a network, wherever they stand."""
    if isinstance(document, dict):
        if document.get("network") in (CHAINS[network].caip2, network.value):
            yield document
        for value in document.values():
            yield from entries_of(value, network)
    elif isinstance(document, list):
        for value in document:
            yield from entries_of(value, network)


def read_recipient(document: Any, network: Network) -> str | None:
    """Whom to pay on a network; None where the document does not tell."""
    for entry in entries_of(document, network):
        pay_to = entry.get("payTo", entry.get("pay_to"))
        if isinstance(pay_to, str):
            return pay_to
    return None
