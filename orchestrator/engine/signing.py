"""Signing exactly what the guard let pass: the one place where a wallet's key is used to pay."""

import asyncio
from datetime import datetime
from decimal import Decimal

from orchestrator.base.payments import Blockhash, from_atomic
from orchestrator.katana.x402 import Offer
from orchestrator.payments.guard import PaymentRefused
from orchestrator.payments.wallet import SignedPayment, Wallet
from orchestrator.receipts.receipt import OrderedPayment


async def sign_offer(
    wallet: Wallet,
    offer: Offer,
    *,
    amount: Decimal,
    pay_to: str,
    now: datetime,
    blockhash: Blockhash | None,
    creates_account: bool,
) -> SignedPayment:
    """A new payment of `amount` USDC to `pay_to`, as offered. Each call signs another one. Raises PaymentRefused."""
    try:
        signed = await asyncio.to_thread(
            wallet.pay, offer.entry, now=now, blockhash=blockhash, creates_account=creates_account
        )
    except ValueError as error:
        raise PaymentRefused(f"the offer cannot be signed: {error}") from None
    if from_atomic(signed.amount) != amount or signed.pay_to != pay_to:
        raise PaymentRefused("the wallet signed something else than was offered")
    return signed


def without_signature(signed: SignedPayment) -> OrderedPayment:
    """What may be known of a signed payment."""
    return OrderedPayment(
        network=signed.network,
        payer=signed.payer,
        pay_to=signed.pay_to,
        asset=signed.asset,
        amount=from_atomic(signed.amount),
        nonce=signed.nonce,
        valid_before=signed.valid_before,
        last_valid_height=signed.last_valid_height,
        after_slot=signed.after_slot,
    )
