"""What a plan would cost by each way to pay, so that a person can choose. Pure.

What settling a payment costs is measured on the guide's one sample ("PAYMENT-REQUIRED shape"): an offer of 0.013938
USDC on Base and 0.0115 on Solana for work of 0.01. A plan sets more aside (`settlement_share`).
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from orchestrator.base.money import ZERO, canonical
from orchestrator.base.payments import Network, Payment
from orchestrator.catalog.models import Catalog
from orchestrator.planner.usdc import TEXT, PricedJob, is_payable, total_usdc

SAMPLE_SETTLEMENT = {Network.BASE: Decimal("0.003938"), Network.SOLANA: Decimal("0.0015")}


@dataclass(frozen=True, slots=True)
class Way:
    """One way to pay: all of it in US dollars, what of that settles payments, and how many requests there are."""

    payment: Payment
    usd: Decimal
    settlement_usd: Decimal
    requests: int

    def document(self) -> dict[str, Any]:
        """One entry of a plan's `payments`."""
        return {
            "payment": self.payment.value,
            "usd": canonical(self.usd),
            "settlement_usd": canonical(self.settlement_usd),
            "requests": self.requests,
        }


def ways_to_pay(
    jobs: Iterable[PricedJob], *, bundle: int, catalog: Catalog, usd_per_credit: Decimal
) -> tuple[Way, ...]:
    """Every way to pay for the jobs, the cheapest first; only credits where a model takes no USDC, none for no jobs.

    A wallet is topped up once for all of them. Texts count with their reserve.
    """
    payable = [job for job in jobs if is_payable(job)]
    if not payable:
        return ()
    requests = count_requests(payable, bundle)
    ways = [Way(Payment.CREDITS, sum((job.estimate for job in payable), ZERO) * usd_per_credit, ZERO, requests)]
    models = (catalog.get(name) for name in {job.model for job in payable})
    if all(model is None or model.x402 for model in models):
        work = total_usdc(payable, Payment.WALLET_BASE, bundle, catalog).work
        ways += [_in_usdc(payment, work, requests) for payment in Payment if payment.network is not None]
    return tuple(sorted(ways, key=lambda way: way.usd))


def count_requests(jobs: Iterable[PricedJob], bundle: int) -> int:
    """How many requests the jobs make: up to `bundle` of one model together, a text always alone."""
    together = Counter((job.model, 1 if job.type == TEXT else bundle) for job in jobs)
    return sum(-(-count // size) for (_, size), count in together.items())


def _in_usdc(payment: Payment, work: Decimal, requests: int) -> Way:
    assert payment.network is not None
    settlement = SAMPLE_SETTLEMENT[payment.network] * (requests if payment.is_direct else 1)
    return Way(payment, work + settlement, settlement, requests)
