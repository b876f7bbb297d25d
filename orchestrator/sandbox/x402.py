"""The 402 discovery answer to a call without credentials: the guide's shape, with recipients that cannot exist.

Quotes are computed as the guide's example: the price in USD plus an estimate of the settlement's cost. Recipient and
asset are not addresses on any chain, so nothing that is signed for the sandbox can ever settle.
"""

import base64
import json
from decimal import ROUND_UP, Decimal

_USD_PER_CREDIT = Decimal("0.0052")
_GAS_USD = {"base": Decimal("0.003938"), "solana": Decimal("0.001500")}
_MICRO = Decimal("0.000001")
_NETWORKS = {
    "base": ("eip155:8453", "0xSANDBOX_USDC_CONTRACT", "0xSANDBOX_BASE_RECIPIENT"),
    "solana": (
        "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp",
        "SANDBOX_USDC_MINT",
        "SANDBOX_SOLANA_RECIPIENT",
    ),
}


def payment_required(price: Decimal) -> dict[str, object]:
    """The decoded requirement for work of that price in credits. Source: guide, "PAYMENT-REQUIRED shape"."""
    subtotal = (price * _USD_PER_CREDIT).quantize(_MICRO, rounding=ROUND_UP)
    return {
        "x402Version": 2,
        "error": "Payment required",
        "accepts": [_option(chain, subtotal) for chain in _NETWORKS],
    }


def header(requirement: dict[str, object]) -> str:
    """The value of PAYMENT-REQUIRED: Base64 of UTF-8 JSON."""
    return base64.b64encode(json.dumps(requirement).encode()).decode()


def _option(chain: str, subtotal: Decimal) -> dict[str, object]:
    network, asset, recipient = _NETWORKS[chain]
    total = subtotal + _GAS_USD[chain]
    amount = str(int(total / _MICRO))
    return {
        "scheme": "exact",
        "network": network,
        "asset": asset,
        "payTo": recipient,
        "amount": amount,
        "maxAmountRequired": amount,
        "maxTimeoutSeconds": 3600,
        "extra": {
            "currency": "USDC",
            "decimals": 6,
            "chain": chain,
            "subtotalUsd": str(subtotal),
            "estimatedGasUsd": str(_GAS_USD[chain]),
            "totalUsd": str(total),
        },
    }
