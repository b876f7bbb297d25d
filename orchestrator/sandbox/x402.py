"""What PAYMENT-REQUIRED and PAYMENT-RESPONSE carry, in the guide's shapes.

Quotes are computed as the guide's example: the price in USD plus an estimate of the settlement's cost.
"""

import base64
import json
from collections.abc import Mapping
from decimal import ROUND_UP, Decimal

from orchestrator.base.payments import ATOMIC, Network, from_atomic, to_atomic
from orchestrator.sandbox.chains import RECIPIENTS, TOKEN_ACCOUNT_USD
from orchestrator.sandbox.records import Settlement

#: How long a quote is good for.
QUOTE_SECONDS = 3600
Document = dict[str, object]


def price_atomic(usd: Decimal, network: Network, *, has_token_account: bool) -> int:
    """What a payment for work of that price must move, in atomic USDC."""
    return to_atomic(_micro(usd) + _gas_usd(network, has_token_account=has_token_account))


def payment_required(amounts: Mapping[Network, int], usd: Decimal, error: str = "Payment required") -> Document:
    """The decoded requirement for work of that price. Source: guide, "PAYMENT-REQUIRED shape"."""
    accepts = [_option(network, amount, _micro(usd)) for network, amount in amounts.items()]
    return {"x402Version": 2, "error": error, "accepts": accepts}


def receipt(payment: Settlement) -> Document:
    """The decoded settlement receipt of a paid answer."""
    recipient = RECIPIENTS[payment.network]
    return {
        "success": True,
        "transaction": payment.transaction,
        "network": recipient.caip2,
        "payer": payment.payer,
        "payTo": recipient.pay_to,
        "asset": recipient.asset,
        "amount": str(payment.amount),
    }


def header(document: Document) -> str:
    """The value of a header: Base64 of UTF-8 JSON."""
    return base64.b64encode(json.dumps(document).encode()).decode()


def capabilities() -> Document:
    """The body of `GET /v1/x402`, whose shape the guide leaves open."""
    return {
        "x402Version": 2,
        "schemes": ["exact"],
        "currency": "USDC",
        "decimals": 6,
        "networks": [
            {
                "network": recipient.caip2,
                "chain": str(network),
                "asset": recipient.asset,
                "payTo": recipient.pay_to,
            }
            for network, recipient in RECIPIENTS.items()
        ],
        "endpoints": [
            {"method": "POST", "path": "/v1/generation-requests"},
            {"method": "POST", "path": "/v1/chat/completions"},
            {"method": "POST", "path": "/v1/x402/top-up"},
            {"method": "GET", "path": "/v1/x402/balance/{walletAddress}"},
            {"method": "GET", "path": "/v1/x402/transactions/{walletAddress}"},
        ],
    }


def _option(network: Network, amount: int, subtotal: Decimal) -> Document:
    recipient = RECIPIENTS[network]
    total = from_atomic(amount)
    return {
        "scheme": "exact",
        "network": recipient.caip2,
        "asset": recipient.asset,
        "payTo": recipient.pay_to,
        "amount": str(amount),
        "maxAmountRequired": str(amount),
        "maxTimeoutSeconds": QUOTE_SECONDS,
        "extra": {
            "currency": "USDC",
            "decimals": 6,
            "chain": str(network),
            "subtotalUsd": f"{subtotal:.6f}",
            "estimatedGasUsd": f"{total - subtotal:.6f}",
            "totalUsd": f"{total:.6f}",
        },
    }


def _gas_usd(network: Network, *, has_token_account: bool) -> Decimal:
    """The estimate of the settlement's cost; on Solana with the rent of a token account that does not exist yet."""
    new_account = network is Network.SOLANA and not has_token_account
    return RECIPIENTS[network].gas_usd + (TOKEN_ACCOUNT_USD if new_account else Decimal(0))


def _micro(usd: Decimal) -> Decimal:
    return usd.quantize(ATOMIC, rounding=ROUND_UP)
